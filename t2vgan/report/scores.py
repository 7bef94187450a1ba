"""Tabulate accuracy by prompt, and the final evaluation with its controls."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from t2vgan.report.formatting import (
    ABSENT,
    format_count,
    format_number,
    format_percent,
)
from t2vgan.report.records import Run, get_scores, has_accuracy
from t2vgan.utils.records import Record, get_interval, get_number, get_record, get_text, get_texts

BY_PROMPT = {"per_prompt", "clips_per_prompt", "confusion"}
SHARES = {"accuracy", "accuracy_held_out", "one_object", "right", "right_held_out"}
NOT_LISTED = {"protocol", "shown"}  # keys of evaluation.json; the protocol has its own list


@dataclass(frozen=True)
class Cell:
    """A formatted number in a table."""

    value: float | None = None
    text: str = ABSENT
    limits: str = ""
    """The 95 % confidence interval."""
    is_best: bool = False


def latest_accuracy(run: Run) -> tuple[float | None, float | None, str]:
    """Return accuracy, held-out accuracy and their source.

    evaluation.json takes precedence over the evaluations of training.
    """
    scores: Record = {}
    source = ""
    if has_accuracy(run.final_evaluation):
        scores, source = get_scores(run.final_evaluation), "final evaluation"
    elif run.evaluations:
        scores = run.evaluations[-1]
        source = f"at step {format_count(scores['step'])}"
    accuracy, held_out = (get_number(scores, key) for key in ("accuracy", "accuracy_held_out"))
    is_missing = accuracy is None and held_out is None
    return accuracy, held_out, explain_absence(run) if is_missing else source


def latest_agreement(run: Run) -> Record:
    """Return the text-video agreement of the last evaluation, if any."""
    records = [run.final_evaluation, *reversed(run.evaluations)]
    found = (get_record(record, "clip_numbers.agreement") for record in records)
    return next((record for record in found if get_number(record, "accuracy") is not None), {})


def explain_absence(run: Run) -> str:
    """Return why a run has no accuracy."""
    records = [run.final_evaluation, *reversed(run.evaluations)]
    if reason := next(filter(None, (get_text(r, "accuracy_missing") for r in records)), None):
        return f"not measured, because {reason}"
    if run.evaluations:
        return "not measured, because no clip could be scored"
    if get_number(run.config, "evaluate_every_steps") == 0:
        return "not measured, because --evaluate-every-steps is 0"
    return "not evaluated yet"


def read_cell(record: Record, key: str, show: Callable[[float], str]) -> Cell:
    """Read a record's number and its confidence interval, if it has one."""
    value, limits = get_number(record, key), get_interval(record, f"{key}_interval")
    if value is None:
        return Cell()
    return Cell(value, show(value), " to ".join(map(show, limits or ())))


def build_prompt_table(run: Run) -> dict[str, Any] | None:
    """Tabulate accuracy by prompt; None if nothing was evaluated."""
    columns = _accuracy_columns(run)
    prompts = list(dict.fromkeys(prompt for column in columns.values() for prompt in column))
    if not prompts:
        return None
    rows = []
    for prompt in sorted(prompts, key=lambda prompt: prompt in run.held_out_prompts):
        shares = {name: _read_share(column.get(prompt)) for name, column in columns.items()}
        bar, tick = shares.get("final", shares.get("last")), shares.get("best")
        rows.append((prompt, prompt in run.held_out_prompts, bar, tick, shares.values()))
    sources = " ".join(_describe_sources(run, columns))
    return {"sources": sources, "columns": list(columns), "rows": rows}


def build_evaluation_table(run: Run) -> dict[str, Any] | None:
    """Tabulate evaluation.json by groups of clips; None if it is missing.

    Every object in it with an `accuracy` is a group (generated clips, real clips as ceiling,
    controls) and becomes a column; all other numbers and texts are facts, the protocol last.
    """
    record = run.final_evaluation
    if not record:
        return None
    groups = dict(_find_groups(record))
    keys = dict.fromkeys(key for group in groups.values() for key in group)
    others = {key: record[key] for key in record if key not in NOT_LISTED}
    return {
        "columns": list(groups),
        "rows": [
            (key, [_read_score(group, key) for group in groups.values()])
            for key in keys
            if not key.endswith("_interval")
        ],
        "notes": get_texts(record, "notes"),
        "facts": list(_find_facts({**others, "protocol": get_record(record, "protocol")})),
    }


def _accuracy_columns(run: Run) -> dict[str, Record]:
    """Return accuracy by prompt in the last, best and final evaluation."""
    columns = {
        "last": get_record(run.evaluations[-1], "per_prompt") if run.evaluations else {},
        "best": get_record(run.best_evaluation or {}, "per_prompt"),
        "final": get_record(get_scores(run.final_evaluation), "per_prompt"),
    }
    return {name: column for name, column in columns.items() if column}


def _describe_sources(run: Run, columns: Mapping[str, Record]) -> Iterator[str]:
    if "last" in columns:
        last = run.evaluations[-1]
        step = format_count(last["step"])
        yield f"Last: the evaluation at step {step}{_clips_per_prompt(last)}."
    if "best" in columns and run.best_evaluation is not None:
        step = format_count(run.best_evaluation["step"])
        yield f"Best: the one at step {step}, whose weights the run keeps as its best."
    if "final" in columns:
        yield "Final: evaluation.json."
    bar = "final" if "final" in columns else "last"
    yield f"The bar shows the {bar} evaluation, the tick the best one."


def _clips_per_prompt(record: Record) -> str:
    """Format the number of clips per prompt, if all are equal."""
    clips = record.get("clips_per_prompt")
    numbers = set(clips.values()) if isinstance(clips, dict) else {clips}
    match list(numbers):
        case [int() as each]:
            return f", {format_count(each)} clips per prompt"
    return ""


def _read_share(value: Any) -> float | None:
    """Read a prompt's accuracy: a number, or an object with an accuracy."""
    share = get_number(value if isinstance(value, dict) else {"accuracy": value}, "accuracy")
    return None if share is None else min(max(share, 0.0), 1.0)


def _find_groups(node: Record, name: str = "") -> Iterator[tuple[str, Record]]:
    """Yield the objects of evaluation.json that have an accuracy."""
    if "accuracy" in node:
        yield name or "generated", dict(_flatten_scores(node))
        return
    for key, child in node.items():
        if isinstance(child, dict):
            yield from _find_groups(child, f"{name} {key}".strip())


def _find_facts(node: Record, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the numbers and texts of evaluation.json outside of the groups."""
    for key, value in node.items():
        path = f"{name} {key}".strip()
        if isinstance(value, dict) and "accuracy" not in value:
            yield from _find_facts(value, path if key != "protocol" else name)
        elif isinstance(value, str | int | float):
            yield path, format_number(value) if isinstance(value, float) else str(value)


def _flatten_scores(node: Record, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield one group's scores, without the long tables per prompt."""
    for key, value in node.items():
        path = f"{name} {key}".strip()
        if isinstance(value, dict) and key not in BY_PROMPT:
            yield from _flatten_scores(value, path)
        elif isinstance(value, list) or get_number(node, key) is not None:
            yield path, value


def _read_score(group: Record, key: str) -> Cell:
    if key.rpartition(" ")[2] in SHARES:
        return read_cell(group, key, format_percent)
    return read_cell(group, key, format_count if isinstance(group.get(key), int) else format_number)
