"""Contact sheets: rows of prompts, columns of moments, seeds or runs; every cell a looping clip."""

from collections.abc import Sequence
from typing import TypeVar

from t2vgan.report.html import Markup, count, join, short, shorten, stopwatch, tag
from t2vgan.report.pictures import Row, Strips, picture_path, read_strips
from t2vgan.report.records import Record, Run, texts

MAX_MOMENTS = 6
MAX_SEEDS = 5
ROOM, ROOM_OF_MANY = (24, 6), (8, 4)  # prompts of a sheet: trained, held out
UNSEEN = "Held-out prompts: their words are known, but training never showed them together"

T = TypeVar("T")


def moments_sheet(run: Run, problems: list[str]) -> Markup | None:
    """Render up to MAX_MOMENTS moments of training, first to last; None if none can be shown.

    A picture that is missing, foreign or damaged is left out and named in `problems`.
    """
    present = [record for record in run.samples if picture_path(run, record)]
    if len(present) < len(run.samples):
        absent = len(run.samples) - len(present)
        problems.append(f"sample pictures missing or outside run_dir: {absent}")
    if not present:
        return None
    chosen = choose_evenly(present, MAX_MOMENTS)
    prompts = _shown_prompts(chosen, run)
    read = [
        read_strips(run, record, f"m{index}", prompts, problems)
        for index, record in enumerate(chosen)
    ]
    moments = [moment for moment in read if moment]
    if not moments:
        return None
    rows = moments[-1].rows

    def cells(moment: Strips, row: Row) -> Markup:
        return moment.cell(row, f"after {count(moment.record['clips_seen'])} clips")

    lines = [(row.prompt, [cells(moment, row) for moment in moments]) for row in rows]
    return join(
        tag("style", *(moment.rule() for moment in moments)),
        tag("p", "Left to right is training: clips seen, and the time in minutes and seconds."),
        _groups([_moment_label(moment.record) for moment in moments], lines, run.held_out_prompts),
    )


def seeds_sheet(run: Run, problems: list[str]) -> Markup | None:
    """Render prompts by seeds, a real clip of each prompt first; None if the run drew none."""
    drawn = [record for record in run.seeds if picture_path(run, record)]
    if not drawn:
        return None
    prompts = _shown_prompts(drawn[-1:], run)
    generated = read_strips(run, drawn[-1], "seeds", prompts, problems)
    if generated is None:
        return None
    real = read_strips(run, run.data, "real", prompts, problems) if run.data else None
    seeds = range(min(MAX_SEEDS, 1 + max(row.occurrence for row in generated.rows)))
    heads = [tag("span", f"seed {seed}") for seed in seeds]
    lines = []
    for prompt in dict.fromkeys(row.prompt for row in generated.rows):
        cells = [generated.cell(Row(prompt, seed), f"seed {seed}") for seed in seeds]
        first = [real.cell(Row(prompt), "real")] if real else []
        lines.append((prompt, [*first, *cells]))
    step = count(generated.record["step"])
    about = f"Drawn at step {step} from fixed seeds, by the averaged generator. "
    about += (
        "The first clip of a row is a real one; held-out prompts have none."
        if real
        else "This run kept no real clips to set beside them."
    )
    return join(
        tag("style", generated.rule(), real.rule() if real else None),
        tag("p", about),
        _groups(
            [*([tag("b", "real")] if real else []), *heads],
            lines,
            run.held_out_prompts,
            first_is_real=real is not None,
        ),
    )


def runs_sheet(runs: Sequence[Run], labels: Sequence[str], problems: list[str]) -> Markup | None:
    """Render the last samples of several runs side by side; None if none has any."""
    columns = []
    for index, (run, label) in enumerate(zip(runs, labels, strict=True)):
        present = [record for record in run.samples if picture_path(run, record)]
        if not present:
            problems += [f"{label}: its picture is missing"] if run.samples else []
            continue
        prompts = _shown_prompts(present[-1:], run, ROOM_OF_MANY)
        found: list[str] = []
        strips = read_strips(run, present[-1], f"r{index}", prompts, found)
        problems += [f"{label}: {problem}" for problem in found]
        if strips:
            columns.append((strips, label, index))
    if not columns:
        return None
    rows = list(dict.fromkeys(row for strips, *_ in columns for row in strips.rows))
    heads = [tag("span", label, class_=f"key s{index}") for _, label, index in columns]
    lines = [
        (row.prompt, [strips.cell(row, label) for strips, label, _ in columns]) for row in rows
    ]
    held_out = frozenset().union(*(run.held_out_prompts for run in runs))
    return join(
        tag("style", *(strips.rule() for strips, *_ in columns)), _groups(heads, lines, held_out)
    )


def choose_evenly(items: Sequence[T], most: int) -> list[T]:
    """Choose at most `most` items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def _shown_prompts(records: Sequence[Record], run: Run, room: tuple[int, int] = ROOM) -> set[str]:
    """Choose the prompts, trained and held out, that a sheet has room for."""
    prompts = list(dict.fromkeys(prompt for r in records for prompt in texts(r, "prompts")))
    held_out = [prompt for prompt in prompts if prompt in run.held_out_prompts]
    trained = [prompt for prompt in prompts if prompt not in run.held_out_prompts]
    return {
        *choose_evenly(trained, room[0]),
        *choose_evenly(held_out, room[1]),
    }


def _groups(
    heads: Sequence[Markup],
    lines: Sequence[tuple[str, Sequence[Markup]]],
    held_out: frozenset[str],
    *,
    first_is_real: bool = False,
) -> Markup:
    """Lay out trained and held-out prompts apart."""
    trained = [line for line in lines if line[0] not in held_out]
    unseen = [line for line in lines if line[0] in held_out]
    kind = "sheet beside" if first_is_real else "sheet"
    unseen_heads = [tag("span"), *heads[1:]] if first_is_real else heads
    return join(
        _grid(heads, trained, kind) if trained else None,
        tag("h3", UNSEEN) if unseen else None,
        _grid(unseen_heads, unseen, kind) if unseen else None,
    )


def _grid(
    heads: Sequence[Markup], lines: Sequence[tuple[str, Sequence[Markup]]], kind: str
) -> Markup:
    labels = tag("div", *heads, class_="strip head")
    second = tag("div", labels, class_="second", aria_hidden="true")  # wide screens: two columns
    rows = (
        tag("div", tag("p", shorten(prompt)), tag("div", *cells, class_="strip"))
        for prompt, cells in lines
    )
    return tag("div", labels, second, *rows, class_=kind, style=f"--columns:{len(heads)}")


def _moment_label(record: Record) -> Markup:
    clips, seconds = record["clips_seen"], record["seconds"]
    return tag("span", tag("b", short(clips)), tag("br"), stopwatch(seconds))
