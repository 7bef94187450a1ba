"""Accuracy attribute by attribute: shape, colour, size, motion, and what was seen instead."""

import math
from collections.abc import Iterator, Mapping, Sequence

from t2vgan.report.charts import Chart
from t2vgan.report.curves import draw_charts
from t2vgan.report.html import Markup, count, join, percent, tag, track
from t2vgan.report.records import Record, Run, interval, number, table
from t2vgan.report.scores import scores_of

JOINT = "all at once"
NOTHING = "none"  # what the meter says where it sees no value it knows


def attributes_section(run: Run) -> Markup | None:
    """Render a table, curves and confusion matrices; None if nothing was evaluated."""
    scores, source = _latest(run)
    attributes = table(scores, "per_attribute")
    if not attributes:
        return None
    rows = {name: _shares(table(attributes, name), "right") for name in attributes} | {
        JOINT: _shares(scores, "accuracy")
    }
    ceiling = table(run.final_evaluation, "ceiling")
    real = {
        name: number(table(table(ceiling, "per_attribute"), name), "right") for name in attributes
    }
    return join(
        tag("p", f"{source} The bar is accuracy on training prompts, the tick on held-out ones."),
        _table(rows, real | {JOINT: number(ceiling, "accuracy")}),
        _curves(run, list(attributes)),
        tag("h3", "What was asked for, and what was seen"),
        tag(
            "p",
            "A row is what prompts asked for, trained and held out together; its cells are the "
            "shares of its clips in percent. A perfect generator fills the diagonal.",
        ),
        tag("div", *_matrices(attributes), class_="matrices"),
    )


Share = tuple[float | None, tuple[float, float] | None]  # and its 95 % interval


def _latest(run: Run) -> tuple[Record, str]:
    """Return the scores with the last word on attributes, and where they are from."""
    final = scores_of(run.final_evaluation)
    if table(final, "per_attribute"):
        return final, f"From evaluation.json, {_clips(final)}."
    if not run.evaluations:
        return {}, ""
    last = run.evaluations[-1]
    return last, f"From the evaluation at step {count(last['step'])}, {_clips(last)}."


def _clips(scores: Record) -> str:
    num_clips = number(scores, "num_clips")
    return "of unknown size" if num_clips is None else f"{count(num_clips)} clips"


def _shares(scores: Record, key: str) -> tuple[Share, Share]:
    """Return a share on training prompts and on held-out ones."""
    return (
        (number(scores, key), interval(scores, f"{key}_interval")),
        (number(scores, f"{key}_held_out"), interval(scores, f"{key}_held_out_interval")),
    )


def _table(rows: Mapping[str, tuple[Share, Share]], real: Mapping[str, float | None]) -> Markup:
    has_real = any(share is not None for share in real.values())
    names = ["training", "held out", *(["real clips"] if has_real else [])]
    head = tag(
        "tr",
        tag("th", "attribute", scope="col"),
        tag("td", class_="wide"),
        *(tag("th", name, class_="number", scope="col") for name in names),
    )
    body = (
        tag(
            "tr",
            tag("th", name, scope="row"),
            tag("td", track(trained[0], held_out[0]), class_="wide"),
            *(tag("td", _cell(share), class_="number") for share in (trained, held_out)),
            tag("td", percent(real[name]), class_="number") if has_real else None,
        )
        for name, (trained, held_out) in rows.items()
    )
    return tag("table", tag("thead", head), tag("tbody", *body), class_="bars")


def _cell(share: Share) -> Markup:
    value, limits = share
    if limits is None:
        return join(percent(value))
    low, high = (f"{100 * limit:.0f}" for limit in limits)
    return join(percent(value), tag("br"), tag("small", f"{low}\N{EN DASH}{high}"))


def _curves(run: Run, attributes: Sequence[str]) -> Markup | None:
    """Draw each attribute's accuracy over training, trained and held-out prompts apart."""
    charts = [
        Chart(
            title,
            {f"per_attribute.{name}.{key}": name for name in attributes} | {joint: JOINT},
            unit="%",
            low=0,
            high=1,
        )
        for title, key, joint in (
            ("Training prompts", "right", "accuracy"),
            ("Held-out prompts", "right_held_out", "accuracy_held_out"),
        )
    ]
    drawn = draw_charts(run.evaluations, charts)
    return tag("div", *drawn, class_="charts two") if drawn else None


def _matrices(attributes: Record) -> Iterator[Markup]:
    for name in attributes:
        counts = {
            asked: _counts(seen) for asked, seen in _rows(table(attributes, name)) if _counts(seen)
        }
        if counts:
            yield _matrix(name, counts)


def _rows(attribute: Record) -> Iterator[tuple[str, Record]]:
    confusion = table(attribute, "confusion")
    yield from ((asked, table(confusion, asked)) for asked in confusion)


def _counts(seen: Record) -> dict[str, float]:
    counts = {value: number(seen, value) or 0 for value in seen}
    return {value: clips for value, clips in counts.items() if clips > 0}


def _matrix(name: str, counts: Mapping[str, Mapping[str, float]]) -> Markup:
    """Render one confusion matrix: rows asked for, columns seen, shares of a row in percent."""
    others = {value for seen in counts.values() for value in seen} - counts.keys()
    columns = [*counts, *sorted(others, key=lambda value: (value == NOTHING, value))]
    head = tag(
        "tr",
        tag("th", "asked \\ seen", scope="col", class_="corner"),
        *(tag("th", tag("span", column), scope="col") for column in columns),
    )
    body = (
        tag(
            "tr",
            tag("th", asked, scope="row"),
            *(_matrix_cell(asked, column, seen) for column in columns),
        )
        for asked, seen in counts.items()
    )
    confusion = tag(
        "table", tag("caption", name), tag("thead", head), tag("tbody", *body), class_="confusion"
    )
    label = f"confusion of {name}, scrolls sideways"
    return tag("div", confusion, class_="scroll", tabindex=0, role="region", aria_label=label)


def _matrix_cell(asked: str, column: str, seen: Mapping[str, float]) -> Markup:
    clips, total = seen.get(column, 0), sum(seen.values())
    if not clips:
        return tag("td", tag("span", "0", class_="zero"))
    share = clips / total
    return tag(
        "td",
        "<1" if share < 0.005 else f"{100 * share:.0f}",
        class_="hit" if asked == column else "miss",
        style=f"--shade:{math.sqrt(share):.3f}",  # so that few clips still show
        title=f"asked for {asked}, saw {column}: {count(clips)} of {count(total)} clips",
    )
