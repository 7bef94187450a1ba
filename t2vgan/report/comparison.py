"""Write a page that compares runs: final numbers, clips, curves, settings.

A run may also be an evaluation without training, such as that of another system's videos.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from t2vgan.errors import UserError
from t2vgan.report.charts import Chart, Plot, build_plot
from t2vgan.report.comparison_table import Rows, build_rows, find_differences, format_rows
from t2vgan.report.contact_sheets import build_runs_sheet
from t2vgan.report.curves import EVALUATION_CHARTS, TRAIN_CHARTS
from t2vgan.report.formatting import (
    ABSENT,
    format_count,
    format_duration,
    format_number,
    format_percent,
)
from t2vgan.report.page import TARGET_ACCURACY, first_on_target
from t2vgan.report.records import EVALUATION_NAME, Run, get_scores, read_evaluation, read_run
from t2vgan.report.reproduce import flatten_record
from t2vgan.report.scores import Cell
from t2vgan.report.templating import render
from t2vgan.utils.files import atomic_write_bytes
from t2vgan.utils.records import Record, get_number, get_record

MAX_RUNS = 8  # number of distinguishable colours
NOT_COMPARED = {"run_dir", "command"}  # the command repeats the settings


class Comparison:
    """Runs with the names that distinguish them.

    Raises:
        UserError: there are too many runs, or one is given twice.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        folders = [_without_record(run.run_dir.resolve()) for run in runs]
        if len(set(folders)) < len(folders):
            raise UserError("runs: one is given twice; give each once")
        if len(runs) > MAX_RUNS:
            raise UserError(f"runs: {len(runs)} are given, but a page holds {MAX_RUNS}; give fewer")
        self.runs = runs
        self.labels = label_runs(folders)

    def format_lines(self) -> Iterator[str]:
        """Yield the final numbers as text, then caveats of the comparison."""
        yield from format_rows(build_rows(self.runs), self.labels)
        yield from find_differences(self.runs)


def open_comparison(paths: Sequence[Path | str]) -> Comparison:
    """Read run folders, and evaluations without a run, to compare them.

    Raises:
        UserError: a folder holds no metrics, a file is not an evaluation, one is named twice, or
            there are more than eight.
    """

    def read(path: Path) -> Run:
        return read_evaluation(path) if path.is_file() else read_run(path)

    return Comparison([read(Path(path)) for path in paths])


def write_comparison(comparison: Comparison, out: Path | str) -> Path:
    """Write a page that compares runs, and return its path."""
    atomic_write_bytes(out, render_comparison(comparison).encode(errors="replace"))
    return Path(out)


def render_comparison(comparison: Comparison) -> str:
    """Return the page that compares runs."""
    runs, labels = comparison.runs, comparison.labels
    problems = find_differences(runs)
    problems += [
        f"{label}: {problem}"
        for run, label in zip(runs, labels, strict=True)
        for problem in run.problems
    ]
    is_trained = [run.is_trained for run in runs]
    return render(
        "comparison.html",
        title=f"{len(runs)} runs compared" if all(is_trained) else "Evaluations side by side",
        labels=labels,
        sheet=build_runs_sheet(runs, labels, problems),
        problems=problems,
        final_numbers=build_rows(runs) | _build_cost_rows(runs),
        with_training=any(is_trained),
        plots=list(_build_plots(runs, labels)),
        settings=_build_setting_rows(runs),
    )


def label_runs(folders: Sequence[Path]) -> list[str]:
    """Label each folder or record by the last parts of its path.

    Labels have as few parts as distinguish all of them.
    """
    most = max(len(folder.parts) for folder in folders)
    for size in range(1, most + 1):
        labels = [str(Path(*folder.parts[-size:])) for folder in folders]
        if len(set(labels)) == len(labels):
            break
    return labels


def _without_record(path: Path) -> Path:
    """Return the run folder for RUN/evaluation.json."""
    return path.parent if path.name == EVALUATION_NAME else path


def _build_cost_rows(runs: Sequence[Run]) -> Rows:
    """Return rows with the cost of training."""
    costs = [_compute_costs(run) for run in runs]
    rows = {name: [Cell(text=cost[name]) for cost in costs] for name in costs[0]}
    return {name: row for name, row in rows.items() if any(cell.text != ABSENT for cell in row)}


def _compute_costs(run: Run) -> dict[str, str]:
    last, reached = run.last, first_on_target(run)
    step, clips, seconds = last["step"], last["clips_seen"], last["seconds"]
    target = format_percent(TARGET_ACCURACY)
    return {
        f"time to {target}": format_duration(reached["seconds"]) if reached else ABSENT,
        "training time": format_duration(seconds) if seconds else ABSENT,
        "steps": format_count(step) if step else ABSENT,
        "clips seen": format_count(clips) if clips else ABSENT,
        "clips/s": format_number(clips / seconds) if seconds else ABSENT,
    }


def _build_setting_rows(runs: Sequence[Run]) -> Rows:
    """Return rows of settings and hardware that differ."""
    columns = [
        {**dict(flatten_record(run.config)), **dict(flatten_record(run.environment))}
        for run in runs
    ]
    trained = [column for run, column in zip(runs, columns, strict=True) if run.is_trained]
    names = dict.fromkeys(name for column in trained for name in column)
    return {
        name: [Cell(text=column.get(name, ABSENT)) for column in columns]
        for name in names
        if name not in NOT_COMPARED and len({column.get(name) for column in trained}) > 1
    }


def _find_attributes(runs: Sequence[Run]) -> list[str]:
    """Return the attributes by which any of the runs was scored."""
    records = [record for run in runs for record in (*run.evaluations, run.final_evaluation)]
    names = (name for r in records for name in get_record(get_scores(r), "per_attribute"))
    return list(dict.fromkeys(names))


def _build_plots(runs: Sequence[Run], labels: Sequence[str]) -> Iterator[Plot]:
    """Plot each number in its own chart, with one line per run."""
    accuracy, *others = EVALUATION_CHARTS
    by_attribute = [
        Chart(f"{name}, training prompts", {f"per_attribute.{name}.right": name}, "%", 0, 1)
        for name in _find_attributes(runs)
    ]
    evaluations = [run.evaluations for run in runs]
    yield from _overlay([accuracy], evaluations, labels, "minutes of training")
    yield from _overlay([accuracy, *by_attribute, *others], evaluations, labels)
    yield from _overlay(TRAIN_CHARTS, [run.train for run in runs], labels)


def _overlay(
    charts: Sequence[Chart],
    records: Sequence[Sequence[Record]],
    labels: Sequence[str],
    x_label: str = "clips seen",
) -> Iterator[Plot]:
    """Plot each number of `charts` that the records of any run hold."""
    in_minutes = x_label != "clips seen"
    for chart in charts:
        for key, name in chart.names.items():
            lines = {
                label: {
                    record["seconds"] / 60 if in_minutes else record["clips_seen"]: value
                    for record in one_run
                    if (value := get_number(record, key)) is not None
                }
                for label, one_run in zip(labels, records, strict=True)
            }
            x = sorted({at for points in lines.values() for at in points})
            if not x:
                continue
            title = chart.title if len(chart.names) == 1 else f"{chart.title}: {name}"
            title += " by time" if in_minutes else ""
            series = {label: [points.get(at) for at in x] for label, points in lines.items()}
            drawn = replace(chart, title=title, x_label=x_label, bridged=True, legend=False)
            notes = [f"after {format_number(at)} {x_label}" for at in x]
            yield build_plot(drawn, x, series, notes)
