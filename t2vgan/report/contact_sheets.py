"""Lay out looping clips by prompt, and by moment, seed or run."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from t2vgan.report.formatting import format_clock, format_count, format_number
from t2vgan.report.pictures import Clip, FilmStrips, StripRow, picture_path, read_strips
from t2vgan.report.records import Run
from t2vgan.utils.records import Record, get_texts
from t2vgan.utils.sequences import choose_evenly

MAX_MOMENTS = 6
MAX_SEEDS = 5
ROOM, ROOM_OF_MANY = (24, 6), (8, 4)  # prompts per sheet: (training, held-out)


@dataclass(frozen=True)
class Column:
    """The heading of a column of clips."""

    title: str
    second_line: str = ""
    is_bold: bool = False
    css_class: str = ""


Line = tuple[str, Sequence[Clip | None]]  # a prompt and its clips


@dataclass(frozen=True)
class ContactSheet:
    """Clips by prompt (lines) and moment, seed or run (columns)."""

    strips: Sequence[FilmStrips]
    columns: Sequence[Column]
    lines: Sequence[Line]
    held_out_prompts: frozenset[str]
    intro: str = ""
    first_is_real: bool = False

    @property
    def groups(self) -> list[tuple[bool, list[Line]]]:
        """Return the lines of training prompts (False) and of held-out ones (True)."""
        groups: dict[bool, list[Line]] = {False: [], True: []}
        for line in self.lines:
            groups[line[0] in self.held_out_prompts].append(line)
        return [(held_out, lines) for held_out, lines in groups.items() if lines]


def build_moments_sheet(run: Run, problems: list[str]) -> ContactSheet | None:
    """Lay out up to MAX_MOMENTS moments of training, first to last.

    Return None if no picture can be shown. Pictures that are missing, damaged or not the run's are
    left out and added to `problems`.
    """
    present = [record for record in run.samples if picture_path(run, record)]
    if len(present) < len(run.samples):
        absent = len(run.samples) - len(present)
        problems.append(f"sample pictures missing or outside run_dir: {absent}")
    chosen = choose_evenly(present, MAX_MOMENTS)
    prompts = _choose_prompts(chosen, run)
    read = [
        read_strips(run, record, f"m{index}", prompts, problems)
        for index, record in enumerate(chosen)
    ]
    moments = [moment for moment in read if moment]
    if not moments:
        return None
    remarks = [f"after {format_count(moment.record['clips_seen'])} clips" for moment in moments]
    return ContactSheet(
        strips=moments,
        intro="Training progresses from left to right: clips seen, and minutes and seconds.",
        columns=[_moment_column(moment.record) for moment in moments],
        lines=_build_lines(moments[-1].rows, moments, remarks),
        held_out_prompts=run.held_out_prompts,
    )


def build_seeds_sheet(run: Run, problems: list[str]) -> ContactSheet | None:
    """Lay out prompts by seed, after a real clip; None without seeds."""
    present = [record for record in run.seeds if picture_path(run, record)]
    if not present:
        return None
    prompts = _choose_prompts(present[-1:], run)
    generated = read_strips(run, present[-1], "seeds", prompts, problems)
    if generated is None:
        return None
    real = read_strips(run, run.data, "real", prompts, problems) if run.data else None
    seeds = range(min(MAX_SEEDS, 1 + max(row.occurrence for row in generated.rows)))
    columns = [Column(f"seed {seed}") for seed in seeds]
    lines = []
    for prompt in dict.fromkeys(row.prompt for row in generated.rows):
        clips = [generated.clip(StripRow(prompt, seed), f"seed {seed}") for seed in seeds]
        first = [real.clip(StripRow(prompt), "real")] if real else []
        lines.append((prompt, [*first, *clips]))
    step = format_count(generated.record["step"])
    about_real = (
        "The first clip of a row is a real one; held-out prompts have none."
        if real
        else "This run saved no real clips for comparison."
    )
    return ContactSheet(
        strips=[generated, real] if real else [generated],
        intro=f"Generated at step {step} from fixed seeds by the averaged generator. {about_real}",
        columns=[Column("real", is_bold=True), *columns] if real else columns,
        lines=lines,
        held_out_prompts=run.held_out_prompts,
        first_is_real=real is not None,
    )


def build_runs_sheet(
    runs: Sequence[Run], labels: Sequence[str], problems: list[str]
) -> ContactSheet | None:
    """Lay out the last samples of several runs; None without any."""
    strips, columns = [], []
    for index, (run, label) in enumerate(zip(runs, labels, strict=True)):
        present = [record for record in run.samples if picture_path(run, record)]
        if not present:
            problems += [f"{label}: its picture is missing"] if run.samples else []
            continue
        prompts = _choose_prompts(present[-1:], run, ROOM_OF_MANY)
        found: list[str] = []
        last = read_strips(run, present[-1], f"r{index}", prompts, found)
        problems += [f"{label}: {problem}" for problem in found]
        if last:
            strips.append(last)
            columns.append(Column(label, css_class=f"key s{index}"))
    if not strips:
        return None
    rows = dict.fromkeys(row for one_run in strips for row in one_run.rows)
    return ContactSheet(
        strips=strips,
        columns=columns,
        lines=_build_lines(rows, strips, [column.title for column in columns]),
        held_out_prompts=frozenset().union(*(run.held_out_prompts for run in runs)),
    )


def _build_lines(
    rows: Iterable[StripRow], strips: Sequence[FilmStrips], remarks: Sequence[str]
) -> list[Line]:
    """Return a line for each row, with one clip per film strip."""
    pairs = list(zip(strips, remarks, strict=True))
    return [(row.prompt, [one.clip(row, remark) for one, remark in pairs]) for row in rows]


def _choose_prompts(records: Sequence[Record], run: Run, room: tuple[int, int] = ROOM) -> set[str]:
    """Return the training and held-out prompts to show on a sheet."""
    prompts = list(dict.fromkeys(prompt for r in records for prompt in get_texts(r, "prompts")))
    held_out = [prompt for prompt in prompts if prompt in run.held_out_prompts]
    trained = [prompt for prompt in prompts if prompt not in run.held_out_prompts]
    return {*choose_evenly(trained, room[0]), *choose_evenly(held_out, room[1])}


def _moment_column(record: Record) -> Column:
    clips, seconds = record["clips_seen"], record["seconds"]
    return Column(format_number(clips), format_clock(seconds), is_bold=True)
