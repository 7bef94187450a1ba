"""Tabulate evaluations, with a row per number and a column per run."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from t2vgan.report.formatting import ABSENT, format_count, format_number, format_percent
from t2vgan.report.records import Run, get_scores, has_accuracy
from t2vgan.report.scores import Cell, latest_accuracy, read_cell
from t2vgan.utils.records import Record, get_number, get_record, get_text

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
FINGERPRINTS = {
    "protocols": "protocol.version",
    "classifiers": "distribution.features_sha256",
    "networks for FVD": "distribution.fvd_weights_sha256",
}

Rows = dict[str, list[Cell]]


def build_rows(runs: Sequence[Run]) -> Rows:
    """Return name -> one cell per run, for every measured number.

    The best share in a row is marked if several runs have one. For a run without evaluation.json,
    the last evaluation of its training is shown.
    """
    evaluations = [_latest_evaluation(run) for run in runs]
    shares = {**ACCURACIES, **_attribute_paths(evaluations), **SHARES}
    formats = (
        (shares, format_percent),
        (MEASURES, format_number),
        (REFERENCES, format_percent),
        (COUNTS, format_count),
    )
    rows = {
        name: [read_cell(evaluation, path, show) for evaluation in evaluations]
        for paths, show in formats
        for name, path in paths.items()
    }
    rows |= {name: _mark_best(rows[name]) for name in shares}
    rows["measured"] = [Cell(text=latest_accuracy(run)[2]) for run in runs]
    rows["data"] = [Cell(text=_format_data(evaluation)) for evaluation in evaluations]
    versions = (get_text(evaluation, "protocol.version") for evaluation in evaluations)
    rows["protocol"] = [Cell(text=version or ABSENT) for version in versions]
    return {name: row for name, row in rows.items() if any(cell.text != ABSENT for cell in row)}


def find_differences(runs: Sequence[Run]) -> list[str]:
    """Return the reasons why the runs' numbers are hard to compare."""
    found = {
        name: {get_text(run.final_evaluation, path) for run in runs}
        for name, path in FINGERPRINTS.items()
    }
    found["data"] = {
        get_text(run.final_evaluation, "protocol.dataset_fingerprint")
        or get_text(run.data, "fingerprint")
        for run in runs
    }
    different = [name for name, values in found.items() if len(values - {None}) > 1]
    if not different:
        return []
    return [
        f"The runs have different {', '.join(different)}: compare each number with the real clips"
        " of its column."
    ]


def format_rows(rows: Rows, labels: Sequence[str]) -> Iterator[str]:
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


def _latest_evaluation(run: Run) -> Record:
    if has_accuracy(run.final_evaluation) or not run.evaluations:
        return {**run.final_evaluation, "generated": get_scores(run.final_evaluation)}
    last = run.evaluations[-1]
    return {"generated": last, "relative_to_real": {"diversity": last.get("diversity")}}


def _attribute_paths(evaluations: Sequence[Record]) -> dict[str, str]:
    """Return the paths of each attribute that any evaluation scored."""
    scores = [get_record(evaluation, "generated.per_attribute") for evaluation in evaluations]
    names = dict.fromkeys(name for attributes in scores for name in attributes)
    return {
        f"{name}{suffix}": f"generated.per_attribute.{name}.{end}"
        for name in names
        for suffix, end in (("", "right"), (", held out", "right_held_out"))
    }


def _mark_best(row: Sequence[Cell]) -> list[Cell]:
    values = [cell.value for cell in row if cell.value is not None]
    best = max(values) if len(values) > 1 else 0
    return [replace(cell, is_best=best > 0 and cell.value == best) for cell in row]


def _format_data(evaluation: Record) -> str:
    protocol = get_record(evaluation, "protocol")
    sizes = [get_number(protocol, key) for key in ("num_frames", "height", "width")]
    if None in sizes:
        return ABSENT
    shape = "x".join(f"{size:.0f}" for size in sizes if size is not None)
    return f"{get_text(protocol, 'dataset_builder') or '?'} {shape}"
