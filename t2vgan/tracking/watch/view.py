"""Show a run on one screen: progress, rate, curves and warnings."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from t2vgan.tracking.metrics_log import abbreviate_count, format_duration
from t2vgan.tracking.watch.curve import Values, draw_curves
from t2vgan.tracking.watch.follow import RunSnapshot
from t2vgan.utils.console import escape_control_chars
from t2vgan.utils.records import Record, get_number, get_text

CURVES = {
    "loss": {"discriminator": "loss/discriminator", "generator": "loss/generator"},
    "gradient norm": {
        "discriminator": "gradient_norm/discriminator",
        "generator": "gradient_norm/generator",
    },
    "clips/s": {"rate": "clips_per_second"},
    "evaluation": {
        "accuracy": "accuracy",
        "held-out prompts": "accuracy_held_out",
        "agreement": "clip_numbers.agreement.accuracy",
    },
}
CURVE_HEIGHT = 6
NUM_MESSAGES = 4


def draw(run: RunSnapshot, width: int) -> RenderableType:
    """Draw a run for a terminal of `width` characters."""
    parts: list[RenderableType] = [draw_header(run)]
    if run.num_steps:
        bar = ProgressBar(total=run.num_steps, completed=run.step, width=width)
        parts.append(Padding(bar, 0))  # a Padding ends its line
    parts.append(draw_progress(run))
    if not run.train:
        parts.append(Text("no metrics yet", "dim"))
    parts += [draw_charts(run, width), draw_messages(run)]
    return Group(*parts)


def draw_header(run: RunSnapshot) -> Text:
    """Draw the run's name, state and hardware."""
    text = Text(f"{escape_control_chars(str(run.run_dir))}  ", "bold")
    text.append(*format_state(run))
    known = run.environment
    if device := get_text(known, "device"):
        hardware = f"{get_number(known, 'world_size') or '?'} x {device}"
        precision = get_text(known, "precision") or "?"
        text.append(escape_control_chars(f"  {hardware}, {precision}"), "dim")
    return text


def format_state(run: RunSnapshot) -> tuple[str, str]:
    """Return the run's state as text, and its colour."""
    silent = run.silent_seconds
    if run.is_alive:
        doing = {escape_control_chars(get_text(r, "doing") or "?") for r in run.ranks.values()}
        return f"running: {', '.join(sorted(doing))}", "green"
    if run.is_complete:
        return "complete", "green"
    if silent is None:
        return "not started", "yellow"
    if run.ranks:
        return f"silent for {format_duration(silent)}: killed, hanging or disconnected", "bold red"
    return f"stopped {format_duration(silent)} ago; the same command resumes", "yellow"


def draw_progress(run: RunSnapshot) -> Text:
    """Draw steps, clips, rate, time left and the slowest rank."""
    text = f"step {run.step}/{run.num_steps or '?'}"
    if run.train:
        last, left = run.train[-1], run.seconds_left
        text += f"  clips {abbreviate_count(last['clips_seen'])}"
        text += f"  {abbreviate_count(get_number(last, 'clips_per_second') or 0)} clips/s"
        if run.is_alive:
            text += f"  left {format_duration(float('nan') if left is None else left)}"
        skew, slowest = get_number(last, "rank_skew"), get_number(last, "slowest_rank")
        if (get_number(run.environment, "world_size") or 1) > 1 and skew and slowest is not None:
            text += f"\nslowest rank {slowest}: {skew:.2f} x the median"
    return Text(text)


def draw_charts(run: RunSnapshot, width: int) -> Table:
    """Draw the curves in two columns."""
    grid = Table.grid(expand=True, padding=0)
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    panels = []
    for title, names in CURVES.items():
        records = run.evaluations if title == "evaluation" else run.train
        series = {name: values_of(records, key) for name, key in names.items()}
        series = {name: values for name, values in series.items() if set(values) - {None}}
        if series:
            curves = draw_curves(series, width=width // 2 - 4, height=CURVE_HEIGHT)
            panels.append(Panel(curves, title=title, title_align="left", border_style="dim"))
    for start in range(0, len(panels), 2):
        grid.add_row(*panels[start : start + 2])
    return grid


def values_of(records: Sequence[Record], key: str) -> Values:
    values = [get_number(record, key) for record in records]
    return values[1:] if key == "clips_per_second" else values  # rates need two records


def draw_messages(run: RunSnapshot) -> Text:
    """Draw the last warnings, or the last events if there are none."""
    warnings = run.warnings
    text = Text()
    for event in (warnings or run.events)[-NUM_MESSAGES:]:
        colour = "yellow" if warnings else "dim"
        text.append(
            f"step {event['step']}: {escape_control_chars(get_text(event, 'message') or '?')}\n",
            colour,
        )
    if len(warnings) > NUM_MESSAGES:
        text.append(f"{len(warnings)} warnings in total\n", "yellow")
    return text
