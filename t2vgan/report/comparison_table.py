"""Evaluations side by side: a row for each number of the protocol, a column for each run."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce

from t2vgan.report.html import ABSENT, Markup, count, join, percent, short, tag
from t2vgan.report.page import headline
from t2vgan.report.records import Record, Run, interval, is_evaluation, number, table, text
from t2vgan.report.scores import scores_of

ACCURACIES = {
    "training prompts": "generated.accuracy",
    "held-out prompts": "generated.accuracy_held_out",
}
SHARES = {"one object in a frame": "generated.one_object"}
MEASURES = {
    "drift of area, real = 1": "relative_to_real.drift_area",
    "drift of colour": "relative_to_real.drift_colour",
    "drift of outline": "relative_to_real.drift_shape",
    "off the ideal path, pixels": "generated.path_residual",
    "off the ideal path, real = 1": "relative_to_real.path_residual",
    "flicker, grey levels": "generated.flicker",
    "diversity, real = 1": "relative_to_real.diversity",
    "diversity of start": "relative_to_real.diversity_start",
    "diversity of size": "relative_to_real.diversity_size",
    "diversity of speed": "relative_to_real.diversity_speed",
    "Frechet distance": "distribution.frechet.generated",
    "Frechet distance, real clips": "distribution.frechet.floor",
    "kernel distance": "distribution.kernel.generated",
    "kernel distance, real clips": "distribution.kernel.floor",
    "FVD": "distribution.fvd.generated",
    "FVD, real clips": "distribution.fvd.floor",
}
REFERENCES = {
    "near copies": "near_copies.share",
    "near copies, real clips": "near_copies.share_of_real",
    "real clips (ceiling)": "ceiling.accuracy",
    "real clips, prompts shuffled": "controls.shuffled_prompts.accuracy",
    "real clips, frames shuffled": "controls.shuffled_frames.accuracy",
}
COUNTS = {
    "clips scored": "generated.num_clips",
    "of held-out prompts": "protocol.num_held_out_clips",
}


@dataclass(frozen=True)
class Cell:
    """One number of one run."""

    value: float | None = None
    text: str = ABSENT
    limits: str = ""
    """The ends of its 95 % interval."""
    is_best: bool = False


Rows = dict[str, list[Cell]]


def standings(runs: Sequence[Run]) -> Rows:
    """Return name -> a cell for each run, of what any of them was measured by.

    The best share of a row is marked where several have one. Without evaluation.json, the last
    evaluation of a run's training speaks for it.
    """
    evaluations = [_last_word(run) for run in runs]
    shares = {**ACCURACIES, **_attributes(evaluations), **SHARES}
    rows = {name: _mark_best(_row(evaluations, path, percent)) for name, path in shares.items()}
    for paths, show in ((MEASURES, short), (REFERENCES, percent), (COUNTS, count)):
        rows |= {name: _row(evaluations, path, show) for name, path in paths.items()}
    protocols = [table(evaluation, "protocol") for evaluation in evaluations]
    rows["measured"] = [Cell(text=headline(run)[2]) for run in runs]
    rows["data"] = [Cell(text=_data(protocol)) for protocol in protocols]
    rows["protocol"] = [Cell(text=text(protocol, "version") or ABSENT) for protocol in protocols]
    return {name: row for name, row in rows.items() if any(cell.text != ABSENT for cell in row)}


def what_differs(runs: Sequence[Run]) -> list[str]:
    """Say what makes numbers of the runs hard to compare."""
    evaluations = [run.final_evaluation for run in runs]
    facts = {
        "protocols": [text(table(e, "protocol"), "version") for e in evaluations],
        "data": [
            text(table(run.final_evaluation, "protocol"), "dataset_fingerprint")
            or text(run.data, "fingerprint")
            for run in runs
        ],
        "classifiers": [text(table(e, "distribution"), "features_sha256") for e in evaluations],
        "networks for FVD": [
            text(table(e, "distribution"), "fvd_weights_sha256") for e in evaluations
        ],
    }
    different = [what for what, found in facts.items() if len(set(found) - {None}) > 1]
    if not different:
        return []
    return [f"The numbers are of different {', '.join(different)}: each stands beside its own."]


def as_markup(cell: Cell) -> Markup:
    shown = tag("b", cell.text) if cell.is_best else join(cell.text)
    return join(shown, *((tag("br"), tag("small", cell.limits)) if cell.limits else ()))


def as_text(rows: Rows, labels: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the table for a terminal."""
    cells = {
        name: [f"{cell.text} ({cell.limits})" if cell.limits else cell.text for cell in row]
        for name, row in rows.items()
    }
    widths = [
        max(map(len, (label, *(row[at] for row in cells.values()))))
        for at, label in enumerate(labels)
    ]
    first = max(map(len, rows), default=0)
    for name, row in {"": list(labels), **cells}.items():
        columns = (f"  {cell:>{width}}" for cell, width in zip(row, widths, strict=True))
        line = f"{name:{first}}{''.join(columns)}"
        yield line.replace("\N{NO-BREAK SPACE}", " ").replace(ABSENT, "-")


def _last_word(run: Run) -> Record:
    if is_evaluation(run.final_evaluation) or not run.evaluations:
        return {**run.final_evaluation, "generated": scores_of(run.final_evaluation)}
    last = run.evaluations[-1]
    return {"generated": last, "relative_to_real": {"diversity": last.get("diversity")}}


def _attributes(evaluations: Sequence[Record]) -> dict[str, str]:
    """Return the path of each attribute that any evaluation scored, on both kinds of prompts."""
    scores = [table(table(evaluation, "generated"), "per_attribute") for evaluation in evaluations]
    names = dict.fromkeys(name for attributes in scores for name in attributes)
    return {
        f"{name}{suffix}": f"generated.per_attribute.{name}.{end}"
        for name in names
        for suffix, end in (("", "right"), (", held out", "right_held_out"))
    }


def _row(evaluations: Sequence[Record], path: str, show: Callable[[float], str]) -> list[Cell]:
    row = []
    for evaluation in evaluations:
        *outer, key = path.split(".")
        inner = reduce(table, outer, evaluation)
        value, limits = number(inner, key), interval(inner, f"{key}_interval")
        if value is None:
            row.append(Cell())
        else:
            row.append(Cell(value, show(value), " to ".join(map(show, limits or ()))))
    return row


def _mark_best(row: Sequence[Cell]) -> list[Cell]:
    values = [cell.value for cell in row if cell.value is not None]
    best = max(values) if len(values) > 1 else 0
    return [replace(cell, is_best=best > 0 and cell.value == best) for cell in row]


def _data(protocol: Record) -> str:
    sizes = [number(protocol, key) for key in ("num_frames", "height", "width")]
    if None in sizes:
        return ABSENT
    shape = "x".join(f"{size:.0f}" for size in sizes if size is not None)
    return f"{text(protocol, 'dataset_builder') or '?'} {shape}"
