"""One run -> one page of HTML: verdict, moving clips, attributes, curves, prompts, commands."""

from collections.abc import Sequence

from t2vgan import __version__
from t2vgan.report import reproduce
from t2vgan.report.attributes import attributes_section
from t2vgan.report.contact_sheets import moments_sheet, seeds_sheet
from t2vgan.report.curves import curves
from t2vgan.report.html import Markup, count, duration, join, percent, shorten, tag
from t2vgan.report.records import Record, Run, is_evaluation, number, table, text
from t2vgan.report.scores import evaluation_table, prompt_table, scores_of
from t2vgan.report.style import STYLE

TARGET_ACCURACY = 0.95
MAX_EVENTS = 200
MAX_WARNINGS = 5

# Pictures and styles inside the page are allowed; scripts and the network are not.
CONTENT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


PAUSE = tag("label", tag("input", type="checkbox", id="pause"), " Pause the clips", class_="pause")


def render_page(run: Run) -> str:
    """Return the whole page of one run."""
    problems = list(run.problems)
    body = join(
        _header(run),
        PAUSE if run.samples or run.seeds else None,
        section("Seeds beside real clips", seeds_sheet(run, problems) or absent("clips by seed")),
        section("Samples over training", moments_sheet(run, problems) or absent("samples")),
        section("Attributes", attributes_section(run) or absent("accuracy by attribute")),
        section("Curves", _curves(run)),
        section("Prompt by prompt", _prompts(run)),
        section("Final evaluation", evaluation_table(run) or absent("evaluation.json")),
        section("Events", _events(run, problems)),
        section("Hardware, software and data", reproduce.hardware(run) or absent("run.json")),
        section("Configuration", reproduce.settings(run) if run.config else absent("config.json")),
        section("How to reproduce", reproduce.commands(run)),
    )
    return document(f"{run.name} · t2vgan", body)


def document(title: str, body: Markup) -> str:
    """Return a page around its body. Nothing in it points outside the page."""
    head = join(
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=CONTENT_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    footer = f"Written by t2vgan {__version__}. This page is one file and works offline."
    main = tag("main", body, tag("footer", footer))
    page = tag("html", tag("head", head), tag("body", main), lang="en")
    return f"<!doctype html>\n{page}\n"


def section(title: str, *content: str | None) -> Markup:
    return tag("section", tag("h2", title), *content)


def absent(what: str) -> Markup:
    return tag("p", f"This run has no {what} yet.", class_="absent")


def _header(run: Run) -> Markup:
    preset = text(run.config, "preset", "name")
    last = run.last
    accuracy, held_out, source = headline(run)
    tiles = (
        ("Training prompts", percent(accuracy), source),
        ("Held-out prompts", percent(held_out), "never in the training data"),
        ("Training time", duration(last["seconds"]), _time_to_target(run)),
        ("Clips seen", count(last["clips_seen"]), f"{count(last['step'])} steps"),
        ("Device", *_device(run.environment)),
    )
    return tag(
        "header",
        tag("p", "t2vgan run", f" · preset {preset}" if preset else None, class_="eyebrow"),
        tag("h1", run.name),
        tag("p", _verdict(accuracy, held_out, last["seconds"]), class_="verdict"),
        _warnings(run),
        tag("dl", *(_tile(*tile) for tile in tiles), class_="tiles"),
    )


def _warnings(run: Run) -> Markup | None:
    """Say at the top what the run warned of, the last ones first; the rest is under Events."""
    lines = [f"step {count(event['step'])}: {_message(event)}" for event in reversed(run.warnings)]
    hidden = len(lines) - MAX_WARNINGS
    shown = lines[:MAX_WARNINGS] + ([f"{count(hidden)} earlier warnings"] if hidden > 0 else [])
    return tag("ul", *(tag("li", line) for line in shown), class_="problems") if shown else None


def _tile(name: str, value: str, remark: str) -> Markup:
    return tag("div", tag("dt", name), tag("dd", value), tag("dd", remark, class_="remark"))


def _verdict(accuracy: float | None, held_out: float | None, seconds: float) -> str:
    trained = f"after {duration(seconds)} of training."
    if accuracy is None:
        return f"Not evaluated yet, {trained}"
    other = "" if held_out is None else f", and {percent(held_out)} what a held-out one says"
    return f"{percent(accuracy)} of clips do what a training prompt says{other}, {trained}"


def headline(run: Run) -> tuple[float | None, float | None, str]:
    """Return accuracy, held-out accuracy and their source; evaluation.json has the last word."""
    final = scores_of(run.final_evaluation)
    if is_evaluation(run.final_evaluation):
        return number(final, "accuracy"), number(final, "accuracy_held_out"), "final evaluation"
    if run.evaluations:
        last = run.evaluations[-1]
        source = f"at step {count(last['step'])}"
        return number(last, "accuracy"), number(last, "accuracy_held_out"), source
    return None, None, "not evaluated yet"


def _time_to_target(run: Run) -> str:
    target = percent(TARGET_ACCURACY)
    record = on_target(run)
    if record is None:
        return f"{target} not reached yet"
    measured = [number(record, key) for key in ("accuracy", "accuracy_held_out")]
    both = "" if None in measured else " on both"
    return f"{target}{both} after {duration(record['seconds'])}"


def on_target(run: Run) -> Record | None:
    """Return the first evaluation with training and held-out prompts, if any, on target."""
    for record in run.evaluations:
        shares = [number(record, key) for key in ("accuracy", "accuracy_held_out")]
        measured = [share for share in shares if share is not None]
        if measured and min(measured) >= TARGET_ACCURACY:
            return record
    return None


def _device(environment: Record) -> tuple[str, str]:
    known = {**environment, **table(environment, "hardware")}
    device = text(known, "device_name", "device", "gpu", "cpu") or "unknown"
    remarks = [
        f"{count(value)} {name}{'' if value == 1 else plural}"
        for key, name, plural in (("world_size", "process", "es"), ("cpu_cores", "core", "s"))
        if (value := number(known, key)) is not None
    ]
    remarks += filter(None, [text(known, "precision", "mixed_precision")])
    return device, ", ".join(remarks)


def _curves(run: Run) -> Markup:
    charts = curves(run)
    return tag("div", *charts, class_="charts") if charts else absent("curves")


def _prompts(run: Run) -> Markup:
    if listed := prompt_table(run):
        return listed
    if not run.evaluations:
        return absent("evaluations")
    return tag("p", "The prompts are too many to have clips each: see the attributes.")


def _message(event: Record) -> str:
    return shorten(text(event, "message") or "(no message)", 2000)


def _events(run: Run, problems: Sequence[str]) -> Markup:
    """List what happened during training, and what this report could not read."""
    shown = run.events[-MAX_EVENTS:]
    lines = [
        tag(
            "tr",
            tag("td", f"step {count(event['step'])}", class_="number"),
            tag("td", duration(event["seconds"]), class_="number"),
            tag("td", _message(event)),
        )
        for event in shown
    ]
    hidden = len(run.events) - len(shown)
    return join(
        tag("ul", *(tag("li", problem) for problem in problems), class_="problems")
        if problems
        else None,
        tag("p", f"{count(hidden)} earlier events are in metrics.jsonl.") if hidden else None,
        tag("table", *lines, class_="events") if lines else tag("p", "None.", class_="absent"),
    )
