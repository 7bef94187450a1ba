"""Line charts as inline SVG.

Written here because a chart library adds one to four megabytes of script to every page, and the
page shall run no script: hover text is SVG's own `title`, colours are the style sheet's.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import fmean

from t2vgan.report.html import Markup, join, percent, short, tag

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 42, WIDTH - 10, 8, HEIGHT - 34  # the plot inside the picture
MAX_POINTS = 120
MAX_DOTS = 30
SMALLEST = 1e-300  # below it steps and logarithms have no digits left


@dataclass(frozen=True)
class Chart:
    """What a chart shows: `names` maps keys of records to names in the legend, at most eight.

    `unit` "%" shows shares of 1 in percent. `low` and `high` are values the y axis always
    reaches. `log` is kept only where every value is positive. In a `bridged` chart a missing value
    is no gap: its series were not measured at the same x.
    """

    title: str
    names: Mapping[str, str]
    unit: str = ""
    low: float | None = None
    high: float | None = None
    log: bool = False
    across: str = "clips seen"
    bridged: bool = False
    legend: bool = True


def line_chart(
    chart: Chart,
    x: Sequence[float],
    series: Mapping[str, Sequence[float | None]],
    notes: Sequence[str],
) -> Markup:
    """Draw series over one shared x, as a `figure` with legend and hover text.

    Each series and `notes` (hover text) has one item per x. None is a gap; at least one value
    must be a number.
    """
    drawn = [value for values in series.values() for value in values if value is not None]
    log = chart.log and min(drawn) > SMALLEST
    plot = Plot(
        buckets=_buckets(x, series, notes),
        names=list(series),
        x=Axis(0, max(x) or 1, LEFT, RIGHT),
        y=Axis(*_ends(drawn, chart, log), BOTTOM, TOP, log),
        show=percent if chart.unit == "%" else short,
        across=chart.across,
        bridged=chart.bridged,
    )
    remark = ", ".join(filter(None, [chart.unit.strip("%"), "log scale" if log else ""]))
    heading = tag("strong", chart.title, tag("small", f" {remark}") if remark else None)
    svg = tag(
        "svg", plot.render(), viewBox=f"0 0 {WIDTH} {HEIGHT}", role="img", aria_label=chart.title
    )
    return tag(
        "figure", tag("figcaption", heading, _legend(plot.names) if chart.legend else None), svg
    )


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most `most` + 1 round numbers (steps of 1, 2 or 5) inside [low, high]."""
    rough = max((high - low) / most, SMALLEST)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * size for size in (1, 2, 5, 10) if power * size >= 0.999 * rough)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten inside [low, high], with 2s and 5s between where they are too few."""
    powers = [10.0**p for p in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    tens = [power for power in powers if low <= power <= high]
    if len(tens) >= 3:
        return tens[:: math.ceil(len(tens) / 6)]
    finer = [size * power for power in powers for size in (1, 2, 5)]
    return [value for value in finer if low <= value <= high]


@dataclass(frozen=True)
class Axis:
    """A linear or logarithmic map from values to pixels."""

    low: float
    high: float
    start: float  # pixel of `low`
    end: float  # pixel of `high`
    log: bool = False

    def __call__(self, value: float) -> float:
        ends_and_value = (self.low, self.high, value)
        low, high, at = map(math.log10, ends_and_value) if self.log else ends_and_value
        return round(self.start + (at - low) / (high - low) * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[float]:
        return log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high)


@dataclass(frozen=True)
class Bucket:
    """Neighbouring records drawn as one point."""

    x: float
    means: dict[str, float]  # of the series that have a value here
    lows: dict[str, float]
    highs: dict[str, float]
    note: str


@dataclass(frozen=True)
class Plot:
    """A chart's data and the maps to its pixels."""

    buckets: Sequence[Bucket]
    names: Sequence[str]
    x: Axis
    y: Axis
    show: Callable[[float], str]
    across: str
    bridged: bool

    def render(self) -> Markup:
        probes = (self.probe(at) for at in range(len(self.buckets)))
        bands, lines = map(self.band, self.names), map(self.line, self.names)
        return join(self.grid(), *bands, *lines, *probes)

    def grid(self) -> Markup:
        parts = []
        for value in self.y.ticks:
            y = self.y(value)
            parts.append(tag("line", class_="grid", x1=LEFT, x2=RIGHT, y1=y, y2=y))
            parts.append(tag("text", self.show(value), class_="tick y", x=LEFT - 6, y=y + 3.5))
        for value in ticks(self.x.low, self.x.high, most=7):
            x = self.x(value)
            parts.append(tag("line", class_="axis", x1=x, x2=x, y1=BOTTOM, y2=BOTTOM + 4))
            parts.append(tag("text", short(value), class_="tick x", x=x, y=BOTTOM + 15))
        parts.append(tag("line", class_="axis", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM))
        parts.append(tag("text", self.across, class_="tick end", x=RIGHT, y=HEIGHT - 4))
        return join(*parts)

    def line(self, name: str) -> Markup:
        runs = [[(self.x(b.x), self.y(b.means[name])) for b in run] for run in self.runs(name)]
        dotted = [run for run in runs if len(run) == 1 or len(self.buckets) <= MAX_DOTS]
        dots = (
            tag("circle", class_=f"dot {self.colour(name)}", cx=x, cy=y, r=2.2)
            for run in dotted
            for x, y in run
        )
        data = "".join(map(_path, runs))
        return join(tag("path", class_=f"line {self.colour(name)}", d=data), *dots)

    def band(self, name: str) -> Markup:
        """Shade the range of values behind a line whose points stand for several records."""
        data = ""
        for run in self.runs(name):
            upper = [(self.x(b.x), self.y(b.highs[name])) for b in run]
            lower = [(self.x(b.x), self.y(b.lows[name])) for b in run]
            if upper != lower:
                data += _path([*upper, *reversed(lower)]) + "Z"
        return tag("path", class_=f"band {self.colour(name)}", d=data) if data else Markup()

    def probe(self, at: int) -> Markup:
        """Draw a strip of the plot that shows its values and a hair line under the pointer."""
        before, here, after = (
            self.x(self.buckets[i].x) if 0 <= i < len(self.buckets) else None
            for i in (at - 1, at, at + 1)
        )
        assert here is not None
        left = LEFT if before is None else (before + here) / 2
        right = RIGHT if after is None else (here + after) / 2
        means = self.buckets[at].means
        values = [f"{name}: {self.show(value)}" for name, value in means.items()]
        return tag(
            "g",
            tag("title", "\n".join([*values, self.buckets[at].note])),
            tag("rect", x=left, y=TOP, width=max(right - left, 0), height=BOTTOM - TOP),
            tag("line", x1=here, x2=here, y1=TOP, y2=BOTTOM),
            *(
                tag("circle", class_=self.colour(name), cx=here, cy=self.y(value), r=3)
                for name, value in means.items()
            ),
            class_="probe",
        )

    def runs(self, name: str) -> list[list[Bucket]]:
        """Split the buckets at the gaps of one series."""
        if self.bridged:
            measured = [bucket for bucket in self.buckets if name in bucket.means]
            return [measured] if measured else []
        runs = groupby(self.buckets, key=lambda bucket: name in bucket.means)
        return [list(run) for present, run in runs if present]

    def colour(self, name: str) -> str:
        return f"s{self.names.index(name)}"


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in points)


def _ends(drawn: Sequence[float], chart: Chart, log: bool) -> tuple[float, float]:
    """Return the ends of the y axis: the values it must reach, else a little room around all."""
    low, high = min(drawn), max(drawn)
    if log:
        return low / 1.2, high * 1.2
    room = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    return (
        low - room if chart.low is None else min(low, chart.low),
        high + room if chart.high is None else max(high, chart.high),
    )


def _buckets(
    x: Sequence[float], series: Mapping[str, Sequence[float | None]], notes: Sequence[str]
) -> list[Bucket]:
    """Join neighbours so that at most MAX_POINTS are drawn; each keeps its mean and range."""
    size = math.ceil(len(x) / MAX_POINTS)
    buckets = []
    for start in range(0, len(x), size):
        stop = min(start + size, len(x))
        inside = {
            name: [value for value in values[start:stop] if value is not None]
            for name, values in series.items()
        }
        means, lows, highs = (
            {name: reduce(values) for name, values in inside.items() if values}
            for reduce in (fmean, min, max)
        )
        buckets.append(Bucket(x[stop - 1], means, lows, highs, notes[stop - 1]))
    return buckets


def _legend(names: Sequence[str]) -> Markup | None:
    if len(names) < 2:
        return None
    keys = (tag("span", name, class_=f"key s{index}") for index, name in enumerate(names))
    return tag("span", *keys, class_="legend")
