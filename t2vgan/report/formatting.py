"""Format numbers and names for display."""

ABSENT = "\N{EN DASH}"


def format_percent(share: float | None) -> str:
    """Format a fraction in percent: 0.9612 -> "96.1 %".

    Only 1 itself becomes 100 %; a missing value becomes a dash.
    """
    if share is None:
        return ABSENT
    figures = f"{100 * share:.1f}".removesuffix(".0")
    if share < 1 and figures == "100":
        figures = f"{min(100 * share, 99.99):.2f}"
    return f"{figures}\N{NO-BREAK SPACE}%"


def format_css_percent(share: float) -> str:
    """Format a fraction as a CSS percentage, clamped to 0..100 %."""
    return f"{100 * min(max(share, 0), 1):.1f}%"


def format_count(number: float) -> str:
    """Format an integer with thousands separators: 128000 -> "128,000"."""
    return f"{round(number):,}"


def format_number(number: float) -> str:
    """Format a number in three digits: 20000 -> "20k", 0.00002 -> "2e-5"."""
    size = abs(number)
    for limit, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if size >= 0.9995 * limit:
            return f"{number / limit:.3g}{suffix}"
    if 0 < size < 1e-4:
        mantissa, exponent = f"{number:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{number:.3g}"


def format_duration(seconds: float) -> str:
    """Format seconds in two units: 552 -> "9 min 12 s"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def format_clock(seconds: float) -> str:
    """Format seconds as a clock: 552 -> "9:12", 3723 -> "1:02:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_name(key: str) -> str:
    """Format a record's key: "per_attribute shape right" -> "shape right"."""
    return key.removeprefix("per_attribute ").replace("_", " ")


def shorten(text: str, most: int = 300) -> str:
    """Cut a text to `most` characters.

    Otherwise a page with very long captions in every cell might not open.
    """
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"
