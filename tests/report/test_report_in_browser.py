"""The report in a real browser: no message, no request, moving clips."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from t2vgan.report import open_comparison, write_comparison, write_report
from tests.support.browsing import CHROMIUM, Browser, browser
from tests.support.run_folders import make_evaluation, make_run

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium, which .ci/run installs")
WIDTHS = {"phone": 375, "desk": 1200}
SHOWN_FRAMES = """
new Promise(done => {
  const clip = document.querySelector('.clip'), seen = new Set()
  const end = performance.now() + 1500
  const look = now => {
    seen.add(getComputedStyle(clip).backgroundPositionX)
    now < end ? requestAnimationFrame(look) : done([...seen])
  }
  requestAnimationFrame(look)
})
"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("profile")) as shown:
        yield shown


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """Pages of a run and a comparison, with hostile names and prompts."""
    folder = tmp_path_factory.mktemp("runs")
    one = make_run(folder / "<img src=x onerror=alert(1)>")
    other = folder / "other"
    shutil.copytree(one, other)
    theirs = make_evaluation(folder / "theirs.json")
    compared = open_comparison([one, other, theirs])
    comparison = write_comparison(compared, folder / "comparison.html")
    return {"run": write_report(one), "comparison": comparison}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", WIDTHS)
@pytest.mark.parametrize("page", ["run", "comparison"])
def test_a_page_is_silent_offline_and_as_wide_as_its_screen(chromium, pages, page, screen, scheme):
    chromium.open(pages[page], width=WIDTHS[screen], prefers_color_scheme=scheme)
    assert chromium.complaints() == []
    assert chromium.requests() == [pages[page].resolve().as_uri()]
    room = chromium.evaluate("document.documentElement.clientWidth")  # beside a scroll bar
    assert WIDTHS[screen] - 20 < room <= WIDTHS[screen]
    assert chromium.evaluate("document.documentElement.scrollWidth") == room
    red, green, blue = chromium.evaluate(
        "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)"
    )
    assert (max(red, green, blue) < 64) == (scheme == "dark")


@pytest.mark.parametrize("page", ["run", "comparison"])
def test_every_clip_plays_all_its_frames_until_paused(chromium, pages, page):
    chromium.open(pages[page])
    states = "document.getAnimations().map(animation => animation.playState)"
    num_clips = chromium.evaluate("document.querySelectorAll('.clip').length")
    assert chromium.evaluate(states) == ["running"] * num_clips
    positions = {"0%", "25%", "50%", "75%", "100%"}
    assert set(chromium.evaluate(SHOWN_FRAMES)) == positions
    chromium.evaluate("document.querySelector('#pause').click()")
    assert chromium.evaluate(states) == ["paused"] * num_clips


def test_clips_stand_still_where_motion_is_unwanted(chromium, pages):
    chromium.open(pages["run"], prefers_reduced_motion="reduce")
    assert len(chromium.evaluate(SHOWN_FRAMES)) == 1


def test_clips_are_drawn_and_not_empty(chromium, pages, tmp_path):
    """A clip's pixels are its picture's noise, not the background."""
    import numpy as np
    from PIL import Image

    chromium.open(pages["run"], prefers_reduced_motion="reduce")
    box = chromium.evaluate(
        "(box => [box.left, box.top, box.right, box.bottom].map(Math.round))"
        "(document.querySelector('.clip').getBoundingClientRect())"
    )
    chromium.screenshot(tmp_path / "page.png")
    clip = np.asarray(Image.open(tmp_path / "page.png").convert("RGB").crop(box))
    assert clip[4:-4, 4:-4].std() > 20


def test_hostile_text_makes_no_element(chromium, pages):
    chromium.open(pages["run"])
    assert chromium.evaluate("document.querySelectorAll('img, script, iframe').length") == 0
    assert "<img src=x" in chromium.evaluate("document.querySelector('h1').textContent")
    matrix = "document.querySelector('table.confusion caption').textContent"
    assert chromium.evaluate(matrix) == "shape"
    shade = "getComputedStyle(document.querySelector('.confusion .{}')).backgroundColor"
    assert chromium.evaluate(shade.format("hit")) != chromium.evaluate(shade.format("miss"))


def test_a_browser_that_finds_fault_is_noticed(chromium, tmp_path):
    """The tests above fail on a script, a request or an overflow."""
    page = tmp_path / "bad.html"
    page.write_text(
        "<div style='width:2000px'>wide</div><img src='gone.png'>"
        "<script>console.error('oh'); undefined.x</script>"
    )
    chromium.open(page, width=375)
    messages = " ".join(chromium.complaints())
    assert "oh" in messages
    assert "TypeError" in messages
    assert any(url.endswith("gone.png") for url in chromium.requests())
    assert chromium.evaluate("document.documentElement.scrollWidth") > 375
