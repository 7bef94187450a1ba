"""Accuracy in tables: prompt by prompt, and the final evaluation beside its controls."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from t2vgan.report.html import ABSENT, Markup, count, join, percent, short, tag, track
from t2vgan.report.records import Record, Run, interval, number, table, texts

BY_PROMPT = {"per_prompt", "clips_per_prompt", "confusion"}
SHARES = {"accuracy", "accuracy_held_out", "one_object", "right", "right_held_out"}
HELD_OUT = join(" ", tag("em", "held out", title="never in the training data"))


def scores_of(evaluation: Record) -> Record:
    """Return the generated clips' scores inside evaluation.json."""
    return table(evaluation, "generated") or evaluation


def prompt_table(run: Run) -> Markup | None:
    """Tabulate each prompt's accuracy: last, best and final; None if nothing was evaluated."""
    columns = _columns(run)
    prompts = list(dict.fromkeys(prompt for column in columns.values() for prompt in column))
    if not prompts:
        return None
    prompts.sort(key=lambda prompt: prompt in run.held_out_prompts)
    names = (tag("th", name, class_="number", scope="col") for name in columns)
    head = tag("tr", tag("th", "prompt", scope="col"), tag("td", class_="wide"), *names)
    rows = (_prompt_row(run, prompt, columns) for prompt in prompts)
    return join(
        tag("p", " ".join(_sources(run, columns))),
        tag("table", tag("thead", head), tag("tbody", *rows), class_="bars"),
    )


def evaluation_table(run: Run) -> Markup | None:
    """Tabulate evaluation.json: a column for each group of clips; None if there is no such file.

    Every object inside that has an `accuracy` is a group (generated clips, real clips as ceiling,
    controls); all other numbers and texts follow below, the protocol last.
    """
    groups = dict(_groups(run.final_evaluation))
    if not groups:
        return None
    keys = dict.fromkeys(key for group in groups.values() for key in group)
    names = (tag("th", _words(name), class_="number", scope="col") for name in groups)
    rows = (
        tag(
            "tr",
            tag("th", _words(key), scope="row"),
            *(tag("td", _score(group, key), class_="number") for group in groups.values()),
        )
        for key in keys
        if not key.endswith("_interval")
    )
    head = tag("thead", tag("tr", tag("td"), *names))
    scores = tag("div", tag("table", head, tag("tbody", *rows)), class_="scroll")
    protocol = {"protocol": table(run.final_evaluation, "protocol")}
    apart = {"protocol", "shown"}
    others = {key: run.final_evaluation[key] for key in run.final_evaluation if key not in apart}
    notes = [tag("p", note) for note in texts(run.final_evaluation, "notes")]
    return join(scores, *notes, facts(dict(_remainder({**others, **protocol}))))


def facts(values: Mapping[str, Any]) -> Markup | None:
    """List names and values."""
    pairs = (
        tag("div", tag("dt", _words(name)), tag("dd", str(value))) for name, value in values.items()
    )
    return tag("dl", *pairs, class_="facts") if values else None


def _columns(run: Run) -> dict[str, Record]:
    """Return accuracy by prompt of the evaluations worth comparing."""
    columns = {
        "last": table(run.evaluations[-1], "per_prompt") if run.evaluations else {},
        "best": table(run.best_evaluation or {}, "per_prompt"),
        "final": table(scores_of(run.final_evaluation), "per_prompt"),
    }
    return {name: column for name, column in columns.items() if column}


def _sources(run: Run, columns: Mapping[str, Record]) -> Iterator[str]:
    if "last" in columns:
        last = run.evaluations[-1]
        yield f"Last: the evaluation at step {count(last['step'])}{_clips_per_prompt(last)}."
    if "best" in columns and run.best_evaluation is not None:
        step = count(run.best_evaluation["step"])
        yield f"Best: the one at step {step}, most accurate on the training prompts."
    if "final" in columns:
        yield "Final: evaluation.json."
    yield f"The bar is {'final' if 'final' in columns else 'last'}, the tick best."


def _clips_per_prompt(record: Record) -> str:
    """Say how many clips each prompt had, if all had as many."""
    clips = record.get("clips_per_prompt")
    numbers = set(clips.values()) if isinstance(clips, dict) else {clips}
    match list(numbers):
        case [int() as each]:
            return f", {count(each)} clips a prompt"
    return ""


def _prompt_row(run: Run, prompt: str, columns: Mapping[str, Record]) -> Markup:
    shares = {name: _share(column.get(prompt)) for name, column in columns.items()}
    bar, best = shares.get("final", shares.get("last")), shares.get("best")
    held_out = HELD_OUT if prompt in run.held_out_prompts else None
    numbers = (tag("td", percent(share), class_="number") for share in shares.values())
    name = tag("th", prompt, held_out, scope="row")
    return tag("tr", name, tag("td", track(bar, best), class_="wide"), *numbers)


def _share(value: Any) -> float | None:
    """Read a prompt's accuracy: a number, or an object with an accuracy."""
    share = number(value if isinstance(value, dict) else {"accuracy": value}, "accuracy")
    return None if share is None else min(max(share, 0.0), 1.0)


def _groups(node: Record, name: str = "") -> Iterator[tuple[str, Record]]:
    """Walk the objects of evaluation.json that have an accuracy of their own."""
    if "accuracy" in node:
        yield name or "generated", dict(_leaves(node))
        return
    for key, child in node.items():
        if isinstance(child, dict):
            yield from _groups(child, f"{name} {key}".strip())


def _remainder(node: Record, name: str = "") -> Iterator[tuple[str, str]]:
    """Walk what evaluation.json says outside of the groups."""
    for key, value in node.items():
        path = f"{name} {key}".strip()
        if isinstance(value, dict) and "accuracy" not in value:
            yield from _remainder(value, path if key != "protocol" else name)
        elif isinstance(value, str | int | float):
            yield path, short(value) if isinstance(value, float) else str(value)


def _leaves(node: Record, name: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten one group's scores, without the long tables by prompt."""
    for key, value in node.items():
        path = f"{name} {key}".strip()
        if isinstance(value, dict) and key not in BY_PROMPT:
            yield from _leaves(value, path)
        elif isinstance(value, list) or number(node, key) is not None:
            yield path, value


def _score(group: Record, key: str) -> Markup:
    """Format one score, with its confidence interval where the file has one."""
    value = number(group, key)
    if value is None:
        return Markup(ABSENT)
    is_share = key.rpartition(" ")[2] in SHARES
    show: Callable[[float], str] = percent if is_share else short
    if isinstance(value, int) and not is_share:
        show = count
    if (limits := interval(group, f"{key}_interval")) is None:
        return join(show(value))
    low, high = limits
    return join(show(value), tag("br"), tag("small", f"{show(low)} to {show(high)}"))


def _words(name: str) -> str:
    return name.removeprefix("per_attribute ").replace("_", " ")
