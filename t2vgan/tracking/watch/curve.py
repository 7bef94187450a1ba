"""Draw curves in a terminal, with 2 x 4 dots per character."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from rich.text import Text

from t2vgan.tracking.metrics_log import abbreviate_count

COLOURS = ("cyan", "magenta", "yellow")
BLANK = 0x2800  # the first of Unicode's braille patterns
DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # [column][row], from the top
AXIS_WIDTH = 9

Values = Sequence[float | None]


def draw_curves(series: Mapping[str, Values], *, width: int, height: int) -> Text:
    """Draw a legend and `height` lines of curves on a common scale.

    The lines are `width` characters wide. Missing values leave a gap.
    """
    known = [v for values in series.values() for v in values if v is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    high = high if high > low else low + 1
    columns = width - AXIS_WIDTH
    cells: dict[tuple[int, int], tuple[int, str]] = {}
    for values, colour in zip(series.values(), COLOURS, strict=False):
        for x, y in plot_dots(values, 2 * columns, 4 * height, low, high):
            dots, _ = cells.get((y // 4, x // 2), (0, ""))
            cells[y // 4, x // 2] = (dots | DOTS[x % 2][y % 4], colour)
    text = draw_legend(series)
    for row in range(height):
        label = {0: format_number(high), height - 1: format_number(low)}.get(row, "")
        text.append(f"\n{label:>{AXIS_WIDTH - 2}} ┤", "dim")
        for column in range(columns):
            dots, colour = cells.get((row, column), (0, ""))
            text.append(chr(BLANK + dots) if dots else " ", colour)
    return text


def plot_dots(
    values: Values, width: int, height: int, low: float, high: float
) -> Iterator[tuple[int, int]]:
    """Yield a curve's dots (x, y), y from the top, joined vertically."""
    before: int | None = None
    for x, value in enumerate(resample(values, width)):
        if value is None:
            before = None
            continue
        span = high / 2 - low / 2  # halves, because the difference of two large values may overflow
        share = (high / 2 - value / 2) / span if span else 1.0
        y = round(min(1.0, max(0.0, share)) * (height - 1))
        first, last = sorted((y, y if before is None else before))
        yield from ((x, stroke) for stroke in range(first, last + 1))
        before = y


def draw_legend(series: Mapping[str, Values]) -> Text:
    """Draw each curve's name and last value, in its colour."""
    text = Text()
    for (name, values), colour in zip(series.items(), COLOURS, strict=False):
        last = next((value for value in reversed(values) if value is not None), None)
        text.append(f"{name} {format_number(last)}  ", colour)
    return text


def resample(values: Values, size: int) -> list[float | None]:
    """Resample to `size` values, averaging equal parts or interpolating."""
    if len(values) > size:
        edges = [place * len(values) // size for place in range(size + 1)]
        return [mean(values[start:end]) for start, end in pairwise(edges)]
    points: list[float | None] = []
    for place in range(size if values else 0):
        whole, rest = divmod(place * (len(values) - 1), size - 1)
        left, right = values[whole], values[min(whole + 1, len(values) - 1)]
        share = rest / (size - 1)
        if left is None or right is None:
            points.append(left if share < 0.5 else right)
        else:
            points.append((1 - share) * left + share * right)
    return points


def mean(values: Values) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(value / len(known) for value in known) if known else None


def format_number(value: float | None) -> str:
    """Format a number in at most seven characters."""
    if value is None:
        return "?"
    return abbreviate_count(value) if abs(value) >= 1000 else f"{value:.3g}"
