"""Accuracy and confusion by attribute on the page of a run."""

import json
import re

import pytest
from markupsafe import escape

from tests.support.html_page import SECTIONS, Page, cells_of, report_of, sheet_of
from tests.support.run_folders import (
    HOSTILE,
    evaluation_record,
    write_metrics,
)


def test_attributes_have_shares_intervals_and_curves(run_dir):
    html, _ = report_of(run_dir)
    page = sheet_of(html, 2)
    assert "From the evaluation at step 1,000, 80 clips." in page.texts["p"][0]
    rows = [text.replace("\N{NO-BREAK SPACE}", " ") for text in page.texts["tr"]]
    assert rows[1:4] == [
        "shape90 %80\N{EN DASH}9950 %",
        "motion100 %\N{EN DASH}",
        "all at once90 %85\N{EN DASH}9550 %",
    ]
    assert page.with_class("mark")[0]["style"] == "left:50.0%"
    assert page.texts["figcaption"] == [
        "Training promptsshapemotionall at once", "Held-out promptsshapeall at once"
    ]  # fmt: skip


def test_confusion_is_a_table_of_shares_of_what_was_asked(run_dir):
    html, _ = report_of(run_dir)
    shape, motion = re.findall('<table class="confusion">.*?</table>', html, re.DOTALL)
    hostile = str(escape(HOSTILE))
    assert cells_of(shape) == [
        ["asked \\ seen", "star", hostile, "oval", "none"],
        ["star", "95", "0", "0", "5"],
        [hostile, "25", "0", "75", "0"],
    ]
    assert cells_of(motion)[1] == ["left", "100", "&lt;1"]
    cells = Page(shape).named("td")
    assert cells[0]["title"] == "asked for star, saw star: 19 of 20 clips"
    assert [cell.get("class") for cell in cells[:4]] == ["hit", None, None, "miss"]
    assert float(cells[3]["style"].removeprefix("--shade:")) == pytest.approx(0.05**0.5, abs=1e-3)


def test_the_final_evaluation_comes_first_for_attributes(run_dir):
    final = {"num_clips": 2000, "accuracy": 0.5, "per_attribute": {"size": {"right": 0.75}}}
    ceiling = {"accuracy": 1.0, "per_attribute": {"size": {"right": 0.999}}}
    evaluation = {"generated": final, "ceiling": ceiling, "notes": ["too <few> clips"]}
    (run_dir / "evaluation.json").write_text(json.dumps(evaluation))
    html, _ = report_of(run_dir)
    page = sheet_of(html, 2)
    assert "From evaluation.json, 2,000 clips." in page.texts["p"][0]
    size = page.texts["tr"][1].replace("\N{NO-BREAK SPACE}", " ")
    assert size == "size75 %\N{EN DASH}99.9 %"
    assert "size right75" in sheet_of(html, 5).texts["table"][0]
    assert sheet_of(html, 5).texts["p"] == ["too <few> clips"]


@pytest.mark.parametrize(
    "damage", [[], {"shape": 3}, {"shape": {"right": "x", "confusion": {"a": {"b": "c"}, "d": []}}}]
)
def test_damaged_attributes_are_tolerated(run_dir, damage):
    record = evaluation_record(1000, 0.9, 0.5) | {"per_attribute": damage}
    write_metrics(run_dir, [record])
    _, page = report_of(run_dir)
    assert page.texts["h2"] == [*SECTIONS]
    assert not page.with_class("confusion")
