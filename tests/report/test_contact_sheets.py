"""The clips of a page: film strips, their size and their faults."""

import json
import re
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from t2vgan.report.comparison import MAX_RUNS
from t2vgan.report.contact_sheets import MAX_MOMENTS, ROOM
from t2vgan.report.pictures import MAX_PICTURE_BYTES
from tests.support.html_page import pictures_of, report_of, sheet_of
from tests.support.run_folders import (
    FRAMES,
    HEIGHT,
    HELD_OUT,
    NUM_SEEDS,
    PROMPTS,
    WIDTH,
    add_samples,
    strips,
    write_metrics,
)


def test_the_sheet_shows_first_to_last_moment_in_step(run_dir):
    html, _ = report_of(run_dir)
    page = sheet_of(html, 1)
    cells = page.with_class("clip")
    assert len(cells) == MAX_MOMENTS * len(PROMPTS)
    first_row = [cell["title"] for cell in cells[:MAX_MOMENTS]]
    assert first_row[0] == "circle moving left, after 0 clips"
    assert first_row[-1] == "circle moving left, after 16,000 clips"
    rows = [cell["style"] for cell in cells[::MAX_MOMENTS]]
    assert rows == [f"background-position-y:{at:.4f}%" for at in (0, 100 / 3, 200 / 3, 100)]
    loops = re.findall(r"animation:film (\S+) steps\((\d+), jump-none\) infinite", html)
    assert loops == [("0.500s", "5")] * (MAX_MOMENTS + 2)


def test_the_pictures_of_the_sheet_are_the_runs_own_pixels(run_dir):
    _, page = report_of(run_dir)
    first = Image.open(run_dir / "samples" / "step_00000000.webp")
    assert (pictures_of(page)["m0"] == np.asarray(first)).all()


def test_every_seed_of_a_prompt_stands_beside_a_real_clip(run_dir):
    html, _ = report_of(run_dir)
    page = sheet_of(html, 0)
    assert [cell["title"] for cell in page.with_class("clip")[: NUM_SEEDS + 1]] == [
        "circle moving right, real", *(f"circle moving right, seed {n}" for n in range(NUM_SEEDS))
    ]  # fmt: skip
    held_out = [c["title"] for c in page.with_class("clip") if c["title"].startswith(HELD_OUT)]
    assert held_out == [f"{HELD_OUT}, seed {n}" for n in range(NUM_SEEDS)], "no real clip of it"
    assert "Generated at step 1,000" in page.texts["p"][0]
    shown = pictures_of(page)
    real = np.asarray(Image.open(run_dir / "samples" / "step_10000000.webp"))
    assert (shown["real"] == real[HEIGHT:]).all(), "the prompts that are drawn, and no others"
    drawn = np.asarray(Image.open(run_dir / "samples" / "step_01001000.webp"))
    assert (shown["seeds"] == drawn).all()


def test_a_run_without_real_clips_says_so(run_dir):
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    records = [record for record in map(json.loads, lines) if record["kind"] != "data"]
    write_metrics(run_dir, records)
    html, _ = report_of(run_dir)
    page = sheet_of(html, 0)
    assert "saved no real clips" in page.texts["p"][0]
    assert len(page.with_class("clip")) == NUM_SEEDS * 3


def test_held_out_prompts_are_apart_and_come_last(run_dir):
    html, _ = report_of(run_dir)
    for number in (0, 1):
        section = html.split("<section>")[number + 1]
        trained, unseen = section.split("<h3>Held-out prompts")
        assert HELD_OUT not in trained
        assert HELD_OUT in unseen
        assert "circle moving right" not in unseen


def test_many_prompts_and_long_ones_still_make_a_light_page(run_dir, monkeypatch):
    monkeypatch.setattr("t2vgan.report.pictures.MAX_PICTURE_BYTES", 20_000)
    prompts = [f"{number} {'long ' * 20_000}" for number in range(50)]
    write_metrics(run_dir, [add_samples(run_dir, step, prompts=prompts) for step in range(7)])
    html, page = report_of(run_dir)
    assert len(page.with_class("clip")) == MAX_MOMENTS * ROOM[0]
    assert len(html) < MAX_MOMENTS * 20_000 * 4 / 3 + 600 * MAX_MOMENTS * ROOM[0] + 1e5


def test_all_pictures_of_a_page_together_are_below_ten_megabytes():
    of_a_run, of_a_comparison = MAX_MOMENTS + 2, MAX_RUNS
    assert max(of_a_run, of_a_comparison) * MAX_PICTURE_BYTES * 4 / 3 < 9e6


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"num_frames": FRAMES + 1}, "its record says"),
        ({"prompts": ["only one"]}, "its record says"),
        ({"prompts": None}, "lacks prompts"),
        ({"height": "12"}, "lacks prompts"),
        ({"width": 0}, "lacks prompts"),
        ({"file": "samples/gone.webp"}, "sample pictures missing or outside run_dir: 1"),
        ({"file": "../outside.webp"}, "sample pictures missing or outside run_dir: 1"),
        ({"file": "/etc/hostname"}, "sample pictures missing or outside run_dir: 1"),
        ({"file": "samples"}, "sample pictures missing or outside run_dir: 1"),
        ({"file": "a\0b"}, "sample pictures missing or outside run_dir: 1"),
        ({"file": None}, "sample pictures missing or outside run_dir: 1"),
        ({"file": "metrics.jsonl"}, "cannot identify image file"),
    ],
)
def test_a_wrong_picture_is_named_and_left_out(run_dir, changes, reason):
    strips().save(run_dir.parent / "outside.webp", lossless=True)
    records = [add_samples(run_dir, 100), add_samples(run_dir, 200) | changes]
    write_metrics(run_dir, records)
    html, page = report_of(run_dir)
    assert reason in html
    assert len(page.with_class("clip")) == len(PROMPTS)


def test_pictures_beyond_pillows_limit_are_shown(run_dir, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    html, page = report_of(run_dir)
    assert len(sheet_of(html, 1).with_class("clip")) == MAX_MOMENTS * len(PROMPTS)
    assert page.with_class("problems") == []
    assert Image.MAX_IMAGE_PIXELS == 100


def test_a_picture_that_claims_to_be_huge_is_named_and_not_decoded(run_dir):
    bomb, absurd = add_samples(run_dir, 200, suffix="png"), add_samples(run_dir, 300)
    header = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    content = bytearray((run_dir / bomb["file"]).read_bytes())
    content[12:33] = header + struct.pack(">I", zlib.crc32(header))
    (run_dir / bomb["file"]).write_bytes(content)
    write_metrics(run_dir, [add_samples(run_dir, 100), bomb, absurd | {"num_frames": 10**9}])
    html, page = report_of(run_dir)
    assert "samples of step 200: the picture is (60000, 60000), its record says" in html
    assert "samples of step 300: a picture of (16000000000, 48) is too large" in html
    assert len(page.with_class("clip")) == len(PROMPTS)


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_a_truncated_picture_is_named_and_left_out(run_dir, suffix):
    record = add_samples(run_dir, 200, suffix=suffix)
    picture = run_dir / record["file"]
    picture.write_bytes(picture.read_bytes()[:-200])
    write_metrics(run_dir, [add_samples(run_dir, 100), record])
    html, page = report_of(run_dir)
    assert "samples of step 200" in html
    assert len(page.with_class("clip")) == len(PROMPTS)


def test_moments_may_differ_in_prompts_and_geometry(run_dir):
    still = add_samples(run_dir, 100, prompts=PROMPTS[:2], num_frames=1, width=FRAMES * WIDTH)
    twice = add_samples(run_dir, 200, prompts=(PROMPTS[0], PROMPTS[0], PROMPTS[1]), suffix="png")
    write_metrics(run_dir, [still, twice])
    html, page = report_of(run_dir)
    assert len(page.with_class("clip")) == 2 + 3
    assert len(re.findall("animation:film", html)) == 1


@pytest.mark.parametrize("noisy", [False, True])
def test_a_heavy_picture_is_made_lighter_and_stays_exact_if_it_can(run_dir, monkeypatch, noisy):
    monkeypatch.setattr("t2vgan.report.pictures.MAX_PICTURE_BYTES", 4000)
    record = add_samples(run_dir, 100, prompts=PROMPTS * 2, suffix="png")
    picture = strips(2 * len(PROMPTS)) if noisy else Image.new("RGB", (80, 96), (200, 30, 7))
    picture.save(run_dir / record["file"], compress_level=0)
    write_metrics(run_dir, [record])
    html, page = report_of(run_dir)
    assert len(page.with_class("clip")) == 2 * len(PROMPTS)
    (shown,) = pictures_of(page).values()
    assert (shown == np.asarray(picture)).all() != noisy
    assert len(re.findall(r"base64,([^)]*)", html)[0]) <= 4000 * 4 / 3 + 4


def test_a_picture_that_cannot_be_light_is_named(run_dir, monkeypatch):
    monkeypatch.setattr("t2vgan.report.pictures.MAX_PICTURE_BYTES", 40)
    html, page = report_of(run_dir)
    assert "too large for the page" in html
    assert not page.with_class("clip")
