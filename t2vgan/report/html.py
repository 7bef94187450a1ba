"""HTML that cannot forget to escape: text is escaped unless it already is `Markup`."""

from html import escape

ABSENT = "\N{EN DASH}"
VOID_ELEMENTS = {"br", "circle", "col", "input", "line", "meta", "path", "rect"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def join(*children: str | None) -> Markup:
    """Concatenate children, escaping plain text; None stands for nothing."""
    return Markup("".join(_render(child) for child in children if child is not None))


def tag(
    name: str, /, *children: str | None, **attributes: str | int | float | bool | None
) -> Markup:
    """Build one element of HTML or SVG.

    `class_` and `for_` lose their underscore, others become dashes (`aria_label`). An attribute
    that is None or False is left out, True stands alone.
    """
    opening = name
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        opening += " " + key.rstrip("_").replace("_", "-")
        if value is not True:
            opening += f'="{escape(str(value))}"'
    if name in VOID_ELEMENTS:
        return Markup(f"<{opening}/>")
    return Markup(f"<{opening}>{join(*children)}</{name}>")


def _render(child: str) -> str:
    return child if isinstance(child, Markup) else escape(child)


def track(bar: float | None, mark: float | None) -> Markup:
    """Draw one share of 1 as a bar, and another as a tick across it."""

    def at(share: float) -> str:
        return f"{100 * min(max(share, 0), 1):.1f}%"

    return tag(
        "span",
        None if bar is None else tag("span", class_="fill", style=f"width:{at(bar)}"),
        None if mark is None else tag("span", class_="mark", style=f"left:{at(mark)}"),
        class_="track",
    )


def shorten(text: str, most: int = 300) -> str:
    """Cut a long text: a page with a caption of a megabyte in every cell would not open."""
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def percent(share: float | None) -> str:
    """Format a share of 1: 0.9612 -> "96.1 %". Only 1 itself is 100 %."""
    if share is None:
        return ABSENT
    figures = f"{100 * share:.1f}".removesuffix(".0")
    if share < 1 and figures == "100":
        figures = f"{min(100 * share, 99.99):.2f}"
    return f"{figures}\N{NO-BREAK SPACE}%"


def count(number: float) -> str:
    """Format a whole number with thousands set apart: 128000 -> "128,000"."""
    return f"{round(number):,}"


def duration(seconds: float) -> str:
    """Format seconds in the two largest units that matter: 552 -> "9 min 12 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def stopwatch(seconds: float) -> str:
    """Format seconds where room is scarce: 552 -> "9:12", 3723 -> "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def short(number: float) -> str:
    """Format a number for an axis or a cell, three figures: 20000 -> "20k", 0.00002 -> "2e-5"."""
    size = abs(number)
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= 0.9995 * limit:
            return f"{number / limit:.3g}{suffix}"
    if 0 < size < 1e-4:
        mantissa, exponent = f"{number:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{number:.3g}"
