"""Several runs on one page: final numbers, last clips, curves over each other, settings apart."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from t2vgan.errors import UserError
from t2vgan.report.charts import Chart, line_chart
from t2vgan.report.curves import EVALUATION_CHARTS, TRAIN_CHARTS
from t2vgan.report.markup import ABSENT, Markup, count, duration, join, percent, short, tag
from t2vgan.report.page import PAUSE, TARGET_ACCURACY, document, headline, on_target, section
from t2vgan.report.records import Record, Run, find, number, table
from t2vgan.report.reproduce import flat
from t2vgan.report.scores import scores_of
from t2vgan.report.sheet import runs_sheet

ACCURACIES = ["training prompts", "held-out prompts"]
MAX_RUNS = 8  # as many as there are colours that can be told apart
NOT_COMPARED = {"run_dir", "command"}  # the command is its settings


def render_comparison(runs: Sequence[Run]) -> str:
    """Return the page that compares runs; UserError where they are too many, or one comes twice."""
    folders = [run.run_dir.resolve() for run in runs]
    if len(set(folders)) < len(folders):
        raise UserError("run_dirs: one run is named twice; name each once")
    if len(runs) > MAX_RUNS:
        raise UserError(f"run_dirs: {len(runs)} runs, but a page holds {MAX_RUNS}; name fewer")
    labels = label_runs(folders)
    problems = [
        f"{label}: {problem}"
        for run, label in zip(runs, labels, strict=True)
        for problem in run.problems
    ]
    clips = runs_sheet(runs, labels, problems)
    title = f"{len(runs)} runs compared"
    body = join(
        tag("header", tag("p", "t2vgan", class_="eyebrow"), tag("h1", title)),
        tag("ul", *(tag("li", problem) for problem in problems), class_="problems")
        if problems
        else None,
        PAUSE if clips else None,
        section("Final numbers", _final_numbers(runs, labels)),
        section("Last samples", clips or tag("p", "No run has samples yet.", class_="absent")),
        section("Curves", _key(labels), tag("div", *_charts(runs, labels), class_="charts")),
        section("Settings that differ", _settings(runs, labels)),
    )
    return document(f"{title} · t2vgan", body)


def label_runs(folders: Sequence[Path]) -> list[str]:
    """Name each folder by its last parts, as many as tell it from the others."""
    most = max(len(folder.parts) for folder in folders)
    for size in range(1, most + 1):
        labels = [str(Path(*folder.parts[-size:])) for folder in folders]
        if len(set(labels)) == len(labels):
            break
    return labels


def _key(labels: Sequence[str]) -> Markup:
    return tag("p", *(_name(label, index) for index, label in enumerate(labels)))


def _name(label: str, index: int) -> Markup:
    return tag("span", label, class_=f"key s{index}")


def _final_numbers(runs: Sequence[Run], labels: Sequence[str]) -> Markup:
    """Tabulate what each run reached, a column a run; the best share of a row stands out."""
    columns = [_shares_of(run) for run in runs]
    rows = []
    for name in ACCURACIES + _attributes(runs) + ["one object"]:
        shares = [column.get(name) for column in columns]
        measured = [share for share in shares if share is not None]
        best = max(measured) if len(measured) > 1 else None
        cells = (tag("b", percent(s)) if s and s == best else join(percent(s)) for s in shares)
        rows.append(_row(name, *cells))
    costs = [_cost(run) for run in runs]
    rows += [_row(name, *(cost[name] for cost in costs)) for name in costs[0]]
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


def _shares_of(run: Run) -> dict[str, float | None]:
    """Return the shares of the evaluation that has the last word."""
    scores = scores_of(run.final_evaluation)
    if number(scores, "accuracy") is None:
        scores = run.evaluations[-1] if run.evaluations else {}
    attributes = table(scores, "per_attribute")
    return {
        **{name: find(attributes, f"{name}.right") for name in attributes},
        **dict(zip(ACCURACIES, headline(run)[:2], strict=True)),
        "one object": number(scores, "one_object"),
    }


def _cost(run: Run) -> dict[str, str]:
    """Return how varied the clips are, and what the run took."""
    last, reached = run.last, on_target(run)
    diversity = find(run.final_evaluation, "relative_to_real.diversity")
    if diversity is None and run.evaluations:
        diversity = number(run.evaluations[-1], "diversity")
    return {
        "diversity": ABSENT if diversity is None else short(diversity),
        "measured": headline(run)[2],
        f"time to {percent(TARGET_ACCURACY)}": duration(reached["seconds"]) if reached else ABSENT,
        "training time": duration(last["seconds"]),
        "steps": count(last["step"]),
        "clips seen": count(last["clips_seen"]),
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
    names = dict.fromkeys(name for column in columns for name in column)
    rows = [
        _row(name, *(column.get(name, ABSENT) for column in columns))
        for name in names
        if name not in NOT_COMPARED and len({column.get(name) for column in columns}) > 1
    ]
    if not rows:
        return tag("p", "None: the runs were started alike.", class_="absent")
    settings = tag("table", _head(labels), tag("tbody", *rows), class_="config numbers")
    return _scroll(settings, "settings")


def _scroll(content: Markup, what: str) -> Markup:
    label = f"{what}, scrolls sideways"
    return tag("div", content, class_="scroll", tabindex=0, role="region", aria_label=label)
