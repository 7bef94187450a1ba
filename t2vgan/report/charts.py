"""Compute line charts, which templates/chart.html draws as inline SVG.

No chart library is used, because it would add one to four megabytes of script to every page, and
the page must not run scripts: hover text uses SVG's `title`, colours come from the style sheet.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from statistics import fmean

from t2vgan.report.formatting import format_number, format_percent

LEFT, RIGHT, TOP, BOTTOM = 42, 350, 8, 166  # the plot area inside the picture of 360x200
MAX_POINTS = 120
MAX_DOTS = 30
SMALLEST = 1e-300  # below it, steps and logarithms lose precision


@dataclass(frozen=True)
class Chart:
    """A chart's series and how they are drawn.

    `names` maps keys of records to names in the legend, at most eight. `unit` "%" shows fractions
    in percent. `low` and `high` are values that the y axis always includes. `log` is ignored unless
    all values are positive. In a `bridged` chart, lines continue over missing values, because its
    series were not measured at the same x.
    """

    title: str
    names: Mapping[str, str]
    unit: str = ""
    low: float | None = None
    high: float | None = None
    log: bool = False
    x_label: str = "clips seen"
    bridged: bool = False
    legend: bool = True


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

    def ticks(self, most: int = 5) -> list[float]:
        """Return the values to mark."""
        return log_ticks(self.low, self.high) if self.log else ticks(self.low, self.high, most)


@dataclass(frozen=True)
class Bucket:
    """Neighbouring records, drawn as one point."""

    x: float
    note: str
    values: dict[str, list[float]]  # only of series that have values here

    @property
    def means(self) -> dict[str, float]:
        """Return the mean of each series."""
        return {name: fmean(values) for name, values in self.values.items()}


@dataclass(frozen=True)
class Plot:
    """A chart's data and the maps to its pixels."""

    chart: Chart
    names: Sequence[str]
    buckets: Sequence[Bucket]
    x: Axis
    y: Axis

    @property
    def remark(self) -> str:
        """Return the unit and the scale, to be shown beside the title."""
        scale = "log scale" if self.y.log else ""
        return ", ".join(filter(None, [self.chart.unit.strip("%"), scale]))

    def format_y(self, value: float) -> str:
        """Format a value of the y axis."""
        return format_percent(value) if self.chart.unit == "%" else format_number(value)

    def line(self, name: str) -> str:
        """Return one series as SVG path data."""
        return "".join(map(_path, self._points(name)))

    def dots(self, name: str) -> list[tuple[float, float]]:
        """Return all points if they are few, else isolated ones."""
        return [
            point
            for segment in self._points(name)
            if len(segment) == 1 or len(self.buckets) <= MAX_DOTS
            for point in segment
        ]

    def band(self, name: str) -> str:
        """Return the range of values behind a line as SVG path data.

        It is empty if every point is a single record.
        """
        data = ""
        for segment in self._segments(name):
            upper = [(self.x(b.x), self.y(max(b.values[name]))) for b in segment]
            lower = [(self.x(b.x), self.y(min(b.values[name]))) for b in segment]
            if upper != lower:
                data += _path([*upper, *reversed(lower)]) + "Z"
        return data

    def probes(self) -> Iterator[tuple[float, float, float, Bucket]]:
        """Yield (left, width, x, bucket) of each bucket's hover strip.

        A strip shows its values when hovered over, and reaches halfway to its neighbours.
        """
        places = [self.x(bucket.x) for bucket in self.buckets]
        edges = [LEFT, *map(fmean, pairwise(places)), RIGHT]
        for (left, right), x, bucket in zip(pairwise(edges), places, self.buckets, strict=True):
            yield left, max(right - left, 0), x, bucket

    def _points(self, name: str) -> list[list[tuple[float, float]]]:
        return [
            [(self.x(b.x), self.y(fmean(b.values[name]))) for b in segment]
            for segment in self._segments(name)
        ]

    def _segments(self, name: str) -> list[list[Bucket]]:
        """Split the buckets at the gaps of one series."""
        if self.chart.bridged:
            measured = [bucket for bucket in self.buckets if name in bucket.values]
            return [measured] if measured else []
        segments = groupby(self.buckets, key=lambda bucket: name in bucket.values)
        return [list(segment) for present, segment in segments if present]


def build_plot(
    chart: Chart,
    x: Sequence[float],
    series: Mapping[str, Sequence[float | None]],
    notes: Sequence[str],
) -> Plot:
    """Build the plot of several series over one shared x.

    Each series and `notes` (hover text) has one item per x. None is a gap; at least one value
    must be a number.
    """
    values = [value for column in series.values() for value in column if value is not None]
    log = chart.log and min(values) > SMALLEST
    return Plot(
        chart=chart,
        names=list(series),
        buckets=_build_buckets(x, series, notes),
        x=Axis(0, max(x) or 1, LEFT, RIGHT),
        y=Axis(*_y_limits(values, chart, log), BOTTOM, TOP, log),
    )


def ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Return at most `most` + 1 round numbers inside [low, high].

    Steps are 1, 2 or 5 times a power of ten.
    """
    rough = max((high - low) / most, SMALLEST)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * size for size in (1, 2, 5, 10) if power * size >= 0.999 * rough)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [round(index * step, 12) for index in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten inside [low, high].

    If there are fewer than three, 2 and 5 times powers of ten are added.
    """
    powers = [10.0**p for p in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)]
    tens = [power for power in powers if low <= power <= high]
    if len(tens) >= 3:
        return tens[:: math.ceil(len(tens) / 6)]
    finer = [size * power for power in powers for size in (1, 2, 5)]
    return [value for value in finer if low <= value <= high]


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in points)


def _y_limits(values: Sequence[float], chart: Chart, log: bool) -> tuple[float, float]:
    """Return the ends of the y axis.

    They are the values that the chart must include, else leave a small margin around all values.
    """
    low, high = min(values), max(values)
    if log:
        return low / 1.2, high * 1.2
    room = 0.05 * (high - low) or 0.1 * abs(high) or 1.0
    return (
        low - room if chart.low is None else min(low, chart.low),
        high + room if chart.high is None else max(high, chart.high),
    )


def _build_buckets(
    x: Sequence[float], series: Mapping[str, Sequence[float | None]], notes: Sequence[str]
) -> list[Bucket]:
    """Merge neighbours into at most MAX_POINTS points with mean and range."""
    size = math.ceil(len(x) / MAX_POINTS)
    buckets = []
    for start in range(0, len(x), size):
        stop = min(start + size, len(x))
        inside = {
            name: [value for value in values[start:stop] if value is not None]
            for name, values in series.items()
        }
        present = {name: values for name, values in inside.items() if values}
        buckets.append(Bucket(x[stop - 1], notes[stop - 1], present))
    return buckets
