"""Several runs on one page: final numbers, last clips, curves over each other, settings apart.

A run here may be an evaluation alone: somebody else's videos have no training to show.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from t2vgan.errors import UserError
from t2vgan.report.charts import Chart, line_chart
from t2vgan.report.comparison_table import as_markup, as_text, standings, what_differs
from t2vgan.report.contact_sheets import runs_sheet
from t2vgan.report.curves import EVALUATION_CHARTS, TRAIN_CHARTS
from t2vgan.report.html import ABSENT, Markup, count, duration, join, percent, short, tag
from t2vgan.report.page import PAUSE, TARGET_ACCURACY, document, on_target, section
from t2vgan.report.records import EVALUATION_NAME, Record, Run, find, table
from t2vgan.report.reproduce import flat
from t2vgan.report.scores import scores_of

MAX_RUNS = 8  # as many as there are colours that can be told apart
NOT_COMPARED = {"run_dir", "command"}  # the command is its settings


class Comparison:
    """Runs with the names that tell them apart.

    Raises:
        UserError: they are too many, or one comes twice.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        folders = [_without_record(run.run_dir.resolve()) for run in runs]
        if len(set(folders)) < len(folders):
            raise UserError("runs: one is named twice; name each once")
        if len(runs) > MAX_RUNS:
            raise UserError(f"runs: {len(runs)} are named, but a page holds {MAX_RUNS}; name fewer")
        self.runs = runs
        self.labels = label_runs(folders)

    def lines(self) -> Iterator[str]:
        """Yield the final numbers as text, and what there is to know about them."""
        yield from as_text(standings(self.runs), self.labels)
        yield from what_differs(self.runs)


def render_comparison(comparison: Comparison) -> str:
    """Return the page that compares runs."""
    runs, labels = comparison.runs, comparison.labels
    problems = what_differs(runs)
    problems += [
        f"{label}: {problem}"
        for run, label in zip(runs, labels, strict=True)
        for problem in run.problems
    ]
    clips = runs_sheet(runs, labels, problems)
    is_trained = [run.is_trained for run in runs]
    title = f"{len(runs)} runs compared" if all(is_trained) else "Evaluations side by side"
    training = (
        section("Curves", _key(labels), tag("div", *_charts(runs, labels), class_="charts")),
        section("Settings that differ", _settings(runs, labels)),
    )
    body = join(
        tag("header", tag("p", "t2vgan", class_="eyebrow"), tag("h1", title)),
        tag("ul", *(tag("li", problem) for problem in problems), class_="problems")
        if problems
        else None,
        PAUSE if clips else None,
        section("Final numbers", _final_numbers(runs, labels)),
        section("Samples", clips or tag("p", "No run has samples yet.", class_="absent")),
        *(training if any(is_trained) else ()),
    )
    return document(f"{title} · t2vgan", body)


def label_runs(folders: Sequence[Path]) -> list[str]:
    """Name each folder or record by its last parts, as many as tell it from the others."""
    most = max(len(folder.parts) for folder in folders)
    for size in range(1, most + 1):
        labels = [str(Path(*folder.parts[-size:])) for folder in folders]
        if len(set(labels)) == len(labels):
            break
    return labels


def _without_record(path: Path) -> Path:
    """Return the folder that RUN/evaluation.json stands for."""
    return path.parent if path.name == EVALUATION_NAME else path


def _key(labels: Sequence[str]) -> Markup:
    return tag("p", *(_name(label, index) for index, label in enumerate(labels)))


def _name(label: str, index: int) -> Markup:
    return tag("span", label, class_=f"key s{index}")


def _final_numbers(runs: Sequence[Run], labels: Sequence[str]) -> Markup:
    """Tabulate what each run reached, a column a run, and what it took."""
    rows = [_row(name, *map(as_markup, cells)) for name, cells in standings(runs).items()]
    costs = [_cost(run) for run in runs]
    for name in costs[0]:
        taken = [cost[name] for cost in costs]
        rows += [_row(name, *taken)] if set(taken) != {ABSENT} else []
    numbers = tag("table", _head(labels), tag("tbody", *rows), class_="numbers")
    return _scroll(numbers, "final numbers")


def _head(labels: Sequence[str]) -> Markup:
    names = (tag("th", _name(label, index), scope="col") for index, label in enumerate(labels))
    return tag("thead", tag("tr", tag("td"), *names))


def _row(name: str, *cells: str) -> Markup:
    return tag("tr", tag("th", name, scope="row"), *(tag("td", cell) for cell in cells))


def _attributes(runs: Sequence[Run]) -> list[str]:
    """Return the attributes that any of the runs was scored by."""
    records = [record for run in runs for record in (*run.evaluations, run.final_evaluation)]
    names = (name for r in records for name in table(scores_of(r), "per_attribute"))
    return list(dict.fromkeys(names))


def _cost(run: Run) -> dict[str, str]:
    """Return what the run took."""
    last, reached = run.last, on_target(run)
    return {
        f"time to {percent(TARGET_ACCURACY)}": duration(reached["seconds"]) if reached else ABSENT,
        "training time": duration(last["seconds"]) if last["seconds"] else ABSENT,
        "steps": count(last["step"]) if last["step"] else ABSENT,
        "clips seen": count(last["clips_seen"]) if last["clips_seen"] else ABSENT,
        "clips/s": short(last["clips_seen"] / last["seconds"]) if last["seconds"] else ABSENT,
    }


def _charts(runs: Sequence[Run], labels: Sequence[str]) -> Iterator[Markup]:
    """Draw each number of the runs as one chart, a line a run."""
    accuracy, *others = EVALUATION_CHARTS
    by_attribute = [
        Chart(f"{name}, training prompts", {f"per_attribute.{name}.right": name}, "%", 0, 1)
        for name in _attributes(runs)
    ]
    evaluations = [run.evaluations for run in runs]
    yield from _over_each_other([accuracy], evaluations, labels, "minutes of training")
    yield from _over_each_other([accuracy, *by_attribute, *others], evaluations, labels)
    yield from _over_each_other(TRAIN_CHARTS, [run.train for run in runs], labels)


def _over_each_other(
    charts: Sequence[Chart],
    records: Sequence[Sequence[Record]],
    labels: Sequence[str],
    across: str = "clips seen",
) -> Iterator[Markup]:
    """Draw a chart for each number of the charts that a record of any run holds."""
    in_minutes = across != "clips seen"
    for chart in charts:
        for key, name in chart.names.items():
            lines = {
                label: {
                    record["seconds"] / 60 if in_minutes else record["clips_seen"]: value
                    for record in one_run
                    if (value := find(record, key)) is not None
                }
                for label, one_run in zip(labels, records, strict=True)
            }
            x = sorted({at for points in lines.values() for at in points})
            if not x:
                continue
            title = chart.title if len(chart.names) == 1 else f"{chart.title}: {name}"
            title += " by time" if in_minutes else ""
            series = {label: [points.get(at) for at in x] for label, points in lines.items()}
            drawn = replace(chart, title=title, across=across, bridged=True, legend=False)
            notes = [f"after {short(at)} {across}" for at in x]
            yield line_chart(drawn, x, series, notes)


def _settings(runs: Sequence[Run], labels: Sequence[str]) -> Markup:
    """Tabulate the settings and surroundings in which the runs are not alike."""
    columns = [{**dict(flat(run.config)), **dict(flat(run.environment))} for run in runs]
    trained = [column for run, column in zip(runs, columns, strict=True) if run.is_trained]
    names = dict.fromkeys(name for column in trained for name in column)
    rows = [
        _row(name, *(column.get(name, ABSENT) for column in columns))
        for name in names
        if name not in NOT_COMPARED and len({column.get(name) for column in trained}) > 1
    ]
    if not rows:
        return tag("p", "None: the runs were started alike.", class_="absent")
    settings = tag("table", _head(labels), tag("tbody", *rows), class_="config numbers")
    return _scroll(settings, "settings")


def _scroll(content: Markup, what: str) -> Markup:
    label = f"{what}, scrolls sideways"
    return tag("div", content, class_="scroll", tabindex=0, role="region", aria_label=label)
