"""A run on one screen: where it is, how fast, how long still, its curves, what is wrong."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from t2vgan.tracking.metrics_log import Record, format_count, format_duration
from t2vgan.utils.console import escape_control_chars
from t2vgan.watch.curve import Values, draw_curves
from t2vgan.watch.follow import Picture

CURVES = {
    "loss": {"discriminator": "loss/discriminator", "generator": "loss/generator"},
    "gradient norm": {
        "discriminator": "gradient_norm/discriminator",
        "generator": "gradient_norm/generator",
    },
    "clips/s": {"rate": "clips_per_second"},
    "evaluation": {"accuracy": "accuracy", "held-out prompts": "accuracy_held_out"},
}
CURVE_HEIGHT = 6
NUM_MESSAGES = 4


def draw(picture: Picture, width: int) -> RenderableType:
    """Return the picture for a terminal of `width` characters."""
    parts: list[RenderableType] = [header(picture)]
    if picture.num_steps:
        bar = ProgressBar(total=picture.num_steps, completed=picture.step, width=width)
        parts.append(Padding(bar, 0))  # which ends its line
    parts.append(progress(picture))
    if not picture.train:
        parts.append(Text("no metrics yet", "dim"))
    parts += [charts(picture, width), messages(picture)]
    return Group(*parts)


def header(picture: Picture) -> Text:
    """Return the run's name, whether it is alive, and what it runs on."""
    text = Text(f"{escape_control_chars(str(picture.run_dir))}  ", "bold")
    text.append(*state(picture))
    known = picture.environment
    device, world_size = known.get("device"), known.get("world_size")
    if device:
        text.append(
            escape_control_chars(f"  {world_size} x {device}, {known.get('precision')}"), "dim"
        )
    return text


def state(picture: Picture) -> tuple[str, str]:
    """Return a word on how the run is, and its colour."""
    silent = picture.silent_seconds
    if picture.is_alive:
        doing = {
            escape_control_chars(str(rank.get("doing", "?"))) for rank in picture.ranks.values()
        }
        return f"running: {', '.join(sorted(doing))}", "green"
    if picture.is_complete:
        return "complete", "green"
    if silent is None:
        return "not started", "yellow"
    if picture.ranks:
        return f"silent for {format_duration(silent)}: killed, stuck or cut off", "bold red"
    return f"stopped {format_duration(silent)} ago; the same command resumes", "yellow"


def progress(picture: Picture) -> Text:
    """Return steps, clips, rate, time left, and which rank is slow."""
    text = f"step {picture.step}/{picture.num_steps or '?'}"
    if picture.train:
        last, left = picture.train[-1], picture.seconds_left
        text += f"  clips {format_count(last['clips_seen'])}"
        text += f"  {format_count(last.get('clips_per_second') or 0)} clips/s"
        if picture.is_alive:
            text += f"  left {format_duration(float('nan') if left is None else left)}"
        if picture.environment.get("world_size", 1) > 1 and last.get("rank_skew"):
            text += f"\nslowest rank {last['slowest_rank']}: {last['rank_skew']:.2f} x the median"
    return Text(text)


def charts(picture: Picture, width: int) -> Table:
    """Return the curves, two beside each other."""
    grid = Table.grid(expand=True, padding=0)
    grid.add_column(ratio=1)
    grid.add_column(ratio=1)
    panels = []
    for title, names in CURVES.items():
        records = picture.evaluations if title == "evaluation" else picture.train
        series = {name: values_of(records, key) for name, key in names.items()}
        series = {name: values for name, values in series.items() if set(values) - {None}}
        if series:
            curves = draw_curves(series, width=width // 2 - 4, height=CURVE_HEIGHT)
            panels.append(Panel(curves, title=title, title_align="left", border_style="dim"))
    for start in range(0, len(panels), 2):
        grid.add_row(*panels[start : start + 2])
    return grid


def values_of(records: Sequence[Record], key: str) -> Values:
    values = [record.get(key) for record in records]
    if key == "clips_per_second":
        values = values[1:]  # a rate has two ends
    return [value if isinstance(value, int | float) else None for value in values]


def messages(picture: Picture) -> Text:
    """Return the last warnings, or where there are none the last events."""
    warnings = picture.warnings
    text = Text()
    for event in (warnings or picture.events)[-NUM_MESSAGES:]:
        colour = "yellow" if warnings else "dim"
        text.append(
            f"step {event['step']}: {escape_control_chars(str(event.get('message')))}\n", colour
        )
    if len(warnings) > NUM_MESSAGES:
        text.append(f"{len(warnings)} warnings in all\n", "yellow")
    return text
