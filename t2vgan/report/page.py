"""One run -> one page of HTML: verdict, moving samples, curves, prompts, evaluation, config."""

import json
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from t2vgan import __version__
from t2vgan.report.curves import curves
from t2vgan.report.markup import Markup, count, duration, join, percent, tag
from t2vgan.report.records import Record, Run, number, table, text, texts
from t2vgan.report.scores import evaluation_table, facts, prompt_table, scores_of
from t2vgan.report.sheet import contact_sheet
from t2vgan.report.style import STYLE

TARGET_ACCURACY = 0.95
MAX_EVENTS = 200
MAX_WARNINGS = 5

# Pictures and styles inside the page are allowed; scripts and the network are not.
CONTENT_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def render_page(run: Run) -> str:
    """Return the whole page. Nothing in it points outside the page."""
    problems = list(run.problems)
    body = join(
        _header(run),
        _section("Samples over training", contact_sheet(run, problems) or _absent("samples")),
        _section("Curves", _curves(run)),
        _section("Prompt by prompt", prompt_table(run) or _absent("evaluations")),
        _section("Final evaluation", evaluation_table(run) or _absent("evaluation.json")),
        _section("Events", _events(run, problems)),
        _section("Configuration", _config(run)),
        _section("How to reproduce", _reproduce(run)),
        tag("footer", f"Written by t2vgan {__version__}. This page is one file and works offline."),
    )
    head = join(
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=CONTENT_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{run.name} · t2vgan"),
        tag("style", Markup(STYLE)),
    )
    page = tag("html", tag("head", head), tag("body", tag("main", body)), lang="en")
    return f"<!doctype html>\n{page}\n"


def _section(title: str, *content: str | None) -> Markup:
    return tag("section", tag("h2", title), *content)


def _absent(what: str) -> Markup:
    return tag("p", f"This run has no {what} yet.", class_="absent")


def _header(run: Run) -> Markup:
    preset = text(run.config, "preset", "name")
    last = run.last
    accuracy, held_out, source = _headline(run)
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
    lines = [
        f"step {count(event['step'])}: {text(event, 'message') or '(no message)'}"
        for event in reversed(run.warnings)
    ]
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


def _headline(run: Run) -> tuple[float | None, float | None, str]:
    """Return accuracy, held-out accuracy and their source; evaluation.json has the last word."""
    final = scores_of(run.final_evaluation)
    if number(final, "accuracy") is not None:
        return number(final, "accuracy"), number(final, "accuracy_held_out"), "final evaluation"
    if run.evaluations:
        last = run.evaluations[-1]
        source = f"at step {count(last['step'])}"
        return number(last, "accuracy"), number(last, "accuracy_held_out"), source
    return None, None, "not evaluated yet"


def _time_to_target(run: Run) -> str:
    """Say when training and held-out prompts, if any, first reached the target together."""
    target = percent(TARGET_ACCURACY)
    for record in run.evaluations:
        shares = [number(record, key) for key in ("accuracy", "accuracy_held_out")]
        measured = [share for share in shares if share is not None]
        if measured and min(measured) >= TARGET_ACCURACY:
            both = " on both" if len(measured) == 2 else ""
            return f"{target}{both} after {duration(record['seconds'])}"
    return f"{target} not reached yet"


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
    return tag("div", *charts, class_="charts") if charts else _absent("curves")


def _events(run: Run, problems: Sequence[str]) -> Markup:
    """List what happened during training, and what this report could not read."""
    shown = run.events[-MAX_EVENTS:]
    lines = [
        tag(
            "tr",
            tag("td", f"step {count(event['step'])}", class_="number"),
            tag("td", duration(event["seconds"]), class_="number"),
            tag("td", text(event, "message") or "(no message)"),
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


def _config(run: Run) -> Markup:
    """Show every setting by the name of its command-line option."""
    if not run.config:
        return _absent("config.json")
    rows = (
        tag("tr", tag("th", name, scope="row"), tag("td", value))
        for name, value in _flat(run.config)
    )
    summary = tag("summary", "Every setting, by its option of train.py")
    return tag("details", summary, tag("table", *rows, class_="config"))


def _flat(node: Record, prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


def _reproduce(run: Run) -> Markup:
    folder = shlex.quote(str(run.run_dir))
    prompts = texts(run.samples[-1], "prompts") if run.samples else []
    prompt = shlex.quote(prompts[-1] if prompts else "circle moving up-right")
    commands = [
        ("train (the same command again resumes)", _command(run.environment.get("command"))),
        ("generate", f"python generate.py --weights {folder} --prompt {prompt}"),
        ("this page", f"python -m t2vgan.report {folder}"),
    ]
    lines = (f"# {what}\n{command}" for what, command in commands if command)
    return join(
        tag("pre", "\n\n".join(lines), tabindex=0),
        facts({name: value for name, value in _flat(run.environment) if name != "command"}),
    )


def _command(value: Any) -> str | None:
    """Return the training command, from one string or a list of arguments."""
    if isinstance(value, list):
        return shlex.join(map(str, value))
    return value if isinstance(value, str) and value else None
