"""Compute accuracy and confusion by attribute: shape, colour, size, motion."""

from collections.abc import Iterator, Mapping
from typing import Any

from t2vgan.report.charts import Chart, Plot
from t2vgan.report.curves import build_plots
from t2vgan.report.formatting import format_count, format_percent
from t2vgan.report.records import Run, get_scores
from t2vgan.report.scores import Cell
from t2vgan.utils.records import Record, get_interval, get_number, get_record

ALL_ATTRIBUTES = "all at once"
NOT_RECOGNIZED = "none"  # the classifier's answer if it recognizes no value


def build_attributes(run: Run) -> dict[str, Any] | None:
    """Build the values for attributes.html; None if nothing was evaluated."""
    scores, source = _latest_scores(run)
    attributes = get_record(scores, "per_attribute")
    if not attributes:
        return None
    paths = {name: f"per_attribute.{name}.right" for name in attributes}
    paths[ALL_ATTRIBUTES] = "accuracy"
    real = get_record(run.final_evaluation, "ceiling")
    rows = [
        (name, _cell(scores, path), _cell(scores, f"{path}_held_out"), get_number(real, path))
        for name, path in paths.items()
    ]
    return {
        "source": source,
        "rows": rows,
        "has_real": any(share is not None for *_, share in rows),
        "plots": _build_curves(run, paths),
        "matrices": list(_build_matrices(attributes)),
    }


def _latest_scores(run: Run) -> tuple[Record, str]:
    """Return the scores to show in the section, and their source."""
    final = get_scores(run.final_evaluation)
    if get_record(final, "per_attribute"):
        return final, f"From evaluation.json, {_num_clips(final)}."
    if not run.evaluations:
        return {}, ""
    last = run.evaluations[-1]
    return last, f"From the evaluation at step {format_count(last['step'])}, {_num_clips(last)}."


def _num_clips(scores: Record) -> str:
    num_clips = get_number(scores, "num_clips")
    return "of unknown size" if num_clips is None else f"{format_count(num_clips)} clips"


def _cell(scores: Record, key: str) -> Cell:
    value, limits = get_number(scores, key), get_interval(scores, f"{key}_interval")
    ends = "\N{EN DASH}".join(f"{100 * limit:.0f}" for limit in limits or ())
    return Cell(value, format_percent(value), ends)


def _build_curves(run: Run, paths: Mapping[str, str]) -> list[Plot]:
    """Plot each attribute's accuracy over training."""
    kinds = {"Training prompts": "", "Held-out prompts": "_held_out"}
    charts = [
        Chart(title, {f"{path}{suffix}": name for name, path in paths.items()}, "%", 0, 1)
        for title, suffix in kinds.items()
    ]
    return build_plots(run.evaluations, charts)


def _build_matrices(
    attributes: Record,
) -> Iterator[tuple[str, list[str], dict[str, dict[str, float]]]]:
    """Yield confusion matrices: name, columns (recognized), rows (requested)."""
    for name in attributes:
        confusion = get_record(get_record(attributes, name), "confusion")
        counts = {asked: _counts(get_record(confusion, asked)) for asked in confusion}
        rows = {asked: seen for asked, seen in counts.items() if seen}
        if rows:
            others = {value for seen in rows.values() for value in seen} - rows.keys()
            last = sorted(others, key=lambda value: (value == NOT_RECOGNIZED, value))
            yield name, [*rows, *last], rows


def _counts(seen: Record) -> dict[str, float]:
    counts = {value: get_number(seen, value) or 0 for value in seen}
    return {value: clips for value, clips in counts.items() if clips > 0}
