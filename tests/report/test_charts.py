"""Charts, formats and templates."""

import pytest
from jinja2 import UndefinedError

from t2vgan.report.charts import Chart, Plot, build_plot, log_ticks, ticks
from t2vgan.report.formatting import (
    format_clock,
    format_duration,
    format_number,
    format_percent,
)
from t2vgan.report.templating import render
from tests.support.html_page import Page


def draw(plot: Plot) -> Page:
    return Page(render("charts.html", plots=[plot]))


def test_chart_puts_values_where_the_axes_say():
    chart = Chart("t", {}, unit="%", low=0, high=1)
    series = {"a": [0.0, None, 1.0], "b": [0.5, 0.5, 0.5]}
    page = draw(build_plot(chart, [0, 50, 100], series, ["n"] * 3))
    dots = [(a["class"], float(a["cx"]), float(a["cy"])) for a in page.with_class("dot")]
    assert dots == [
        ("dot s0", 42, 166), ("dot s0", 350, 8),
        ("dot s1", 42, 87), ("dot s1", 196, 87), ("dot s1", 350, 87),
    ]  # fmt: skip
    assert page.texts["title"] == [
        "a: 0\N{NO-BREAK SPACE}%\nb: 50\N{NO-BREAK SPACE}%\nn",
        "b: 50\N{NO-BREAK SPACE}%\nn",
        "a: 100\N{NO-BREAK SPACE}%\nb: 50\N{NO-BREAK SPACE}%\nn",
    ]
    first_line = page.with_class("line")[0]["d"]
    assert first_line == "M42.0 166.0M350.0 8.0"  # the missing value is a gap, not a bridge


@pytest.mark.parametrize(
    "values", [[0.0], [-3.0, -3.0], [1e-9, 2e-9], [1e12, 0.0], [5.0, 5.0], [5e-324]]
)
@pytest.mark.parametrize("log", [False, True])
def test_any_values_can_be_drawn(values, log):
    x = [0.0] * len(values)
    page = draw(build_plot(Chart("t", {}, log=log), x, {"a": values}, [""] * len(values)))
    assert all(0 <= float(a["cy"]) <= 200 for a in page.with_class("dot"))
    assert page.with_class("y")


def test_ticks_are_round_and_inside():
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(-0.3, 1.2) == [0, 0.5, 1]
    assert ticks(0, 128_000, 4) == [0, 50_000, 100_000]
    assert log_ticks(0.02, 3000) == [0.1, 1, 10, 100, 1000]
    assert log_ticks(2, 30) == [2, 5, 10, 20]


def test_numbers_read_well():
    assert [format_number(n) for n in (0, 1, -2.5, 0.002, 2e-5, 20_000, 1.5e6, 999.9, 999.4)] == [
        "0", "1", "-2.5", "0.002", "2e-5", "20k", "1.5M", "1k", "999"
    ]  # fmt: skip
    assert [format_duration(s) for s in (0, 59.6, 552, 3600, 93_784)] == [
        "0 s", "1 min 0 s", "9 min 12 s", "1 h 0 min", "26 h 3 min"
    ]  # fmt: skip
    shares = [
        format_percent(share).split("\N{NO-BREAK SPACE}")[0] for share in (0, 0.9612, 0.999999, 1)
    ]
    assert shares == ["0", "96.1", "99.99", "100"]
    assert [format_clock(s) for s in (0, 552, 3723)] == ["0:00", "9:12", "1:02:03"]


def test_templates_escape_every_value_and_miss_none():
    html = render("charts.html", plots=[build_plot(Chart('<a "', {}), [1], {"&": [1]}, ["<b>"])])
    assert 'aria-label="&lt;a &#34;"' in html
    assert "&amp;: 1\n&lt;b&gt;</title>" in html
    with pytest.raises(UndefinedError, match="'plots' is undefined"):
        render("charts.html")
