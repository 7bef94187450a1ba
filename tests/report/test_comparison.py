"""The page that compares runs, and its text."""

import json
import re
from pathlib import Path
from zlib import crc32

import pytest

from t2vgan.errors import UserError
from t2vgan.report import open_comparison, write_comparison
from tests.support.html_page import Page, cells_of, sheet_of
from tests.support.run_folders import (
    FRAMES,
    HEIGHT,
    PROMPTS,
    WIDTH,
    make_evaluation,
    make_run,
    strips,
)
from tests.support.warm import run_warm


def test_runs_are_compared_number_by_number(two_runs, tmp_path):
    html = write_comparison(open_comparison(two_runs), tmp_path / "two.html").read_text()
    page = Page(html)
    assert page.texts["h2"] == [
        "Final numbers", "Samples", "Curves", "Settings that differ"
    ]  # fmt: skip
    labels = [f"{folder.parent.name}/{folder.name}" for folder in two_runs]
    assert page.texts["table"][0].startswith("".join(labels)), "names that tell them apart"
    numbers = {row[0]: row[1:] for row in cells_of(html.split("<section>")[1])}
    shares = [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in numbers["training prompts"]]
    assert shares == ["90 %85 % to 95 %", "20 %85 % to 95 %"]
    assert numbers["steps"] == ["1,000", "600"]
    assert numbers["time to 95\N{NO-BREAK SPACE}%"] == ["50 s", "\N{EN DASH}"]
    assert page.texts["b"][:3] == [f"{n}\N{NO-BREAK SPACE}%" for n in (90, 60, 90)], "the best"
    assert cells_of(html.split("<section>")[4])[1:] == [["train.seed", "3", "4"]]
    captions = page.texts["figcaption"]
    assert captions[0] == "Prompt accuracy: training prompts by time"
    assert "shape, training prompts" in captions
    assert {len(set(re.findall(r'class="line (s\d)"', html)))} == {2}
    assert "&lt;new&gt; prompt" in html
    assert "<new>" not in html
    assert "<run>" not in html


def test_lines_of_runs_join_their_own_points(two_runs, tmp_path):
    html = write_comparison(open_comparison(two_runs), tmp_path / "two.html").read_text()
    loss = html.split("Loss: generator")[-1].split("</figure>")[0]
    first, second = re.findall(r'<path class="line s\d" d="([^"]*)"', loss)
    assert (first.count("L"), second.count("L")) == (10, 4), (
        "no gap where only the other has points"
    )


def test_runs_that_cannot_be_compared_are_the_users_mistake(two_runs, tmp_path):
    with pytest.raises(UserError, match="given twice"):
        open_comparison([two_runs[0], two_runs[0] / "."])
    with pytest.raises(UserError, match=r"9 are given.*holds 8"):
        open_comparison([make_run(tmp_path / f"run{n}") for n in range(9)])
    with pytest.raises(UserError, match="gone is not there"):
        open_comparison([two_runs[0], tmp_path / "gone"])
    with pytest.raises(UserError, match=r"holds no metrics\.jsonl"):
        open_comparison([two_runs[0], tmp_path])
    evaluation = make_evaluation(two_runs[0] / "evaluation.json")
    with pytest.raises(UserError, match="given twice"):
        open_comparison([two_runs[0], evaluation])
    with pytest.raises(UserError, match=r"config\.json is not an evaluation"):
        open_comparison([two_runs[0], two_runs[0] / "config.json"])


def test_an_evaluation_without_a_run_stands_beside_runs(two_runs, theirs, tmp_path):
    comparison = open_comparison([two_runs[0], theirs])
    html = write_comparison(comparison, tmp_path / "page.html").read_text()
    numbers = {row[0]: row[1:] for row in cells_of(html.split("<section>")[1])}
    plain = {name: [cell.replace("\N{NO-BREAK SPACE}", " ") for cell in row]
             for name, row in numbers.items()}  # fmt: skip
    assert plain["training prompts"] == ["90 %85 % to 95 %", "40 %85 % to 95 %"]
    assert plain["held-out prompts"] == ["50 %", "70 %60 % to 80 %"]
    assert plain["diversity, real = 1"] == ["0.8", "0.25"]
    assert plain["real clips (ceiling)"] == ["\N{EN DASH}", "99.9 %"]
    assert plain["Frechet distance, real clips"] == ["\N{EN DASH}", "1.5"]
    assert plain["data"] == ["\N{EN DASH}", f"&lt;shapes&gt; {FRAMES}x{HEIGHT}x{WIDTH}"]
    assert plain["steps"] == ["1,000", "\N{EN DASH}"]
    assert not {"drift of area, real = 1", "FVD"} & plain.keys(), "what none was measured by"
    assert plain["measured"] == ["at step 1,000", "final evaluation"]
    assert plain["clips scored"] == ["80", "80"]
    assert Page(html).texts["h1"] == ["Evaluations side by side"]
    assert Page(html).texts["li"] == [
        "The runs have different data: compare each number with the real clips of its column."
    ]
    assert Page(html).texts["h2"][1:] == ["Samples", "Curves", "Settings that differ"]
    clips = [clip["title"] for clip in sheet_of(html, 1).with_class("clip")]
    assert len(clips) == len(PROMPTS) + 2
    assert clips[1] == f"{PROMPTS[0]}, theirs.json"
    heading, first, *_ = comparison.format_lines()
    assert heading.endswith(" theirs.json")
    assert first.split("  ")[-1].strip() == "40 % (85 % to 95 %)"


def edit(file: Path, **changes) -> Path:
    """Change some of a record's objects."""
    record = json.loads(file.read_text())
    for name, change in changes.items():
        record[name] |= change
    file.write_text(json.dumps(record))
    return file


def test_evaluations_without_runs_are_a_page_of_numbers(theirs, tmp_path):
    (tmp_path / "ours").mkdir()
    ours = make_evaluation(tmp_path / "ours" / "evaluation.json")
    edit(ours, protocol={"version": "attributes-4"}, generated={"accuracy": 0.0})
    comparison = open_comparison([ours, theirs])
    html = write_comparison(comparison, tmp_path / "page.html").read_text()
    page = Page(html)
    assert page.texts["h2"] == ["Final numbers", "Samples"]
    assert page.texts["li"] == [
        "The runs have different protocols: compare each number with the real clips of its column."
    ]
    assert page.texts["b"][0] == "40\N{NO-BREAK SPACE}%", "better than none at all"
    assert len(page.with_class("clip")) == 4
    assert "training time" not in html
    heading, *_, warning = comparison.format_lines()
    assert heading.split() == ["ours", "theirs.json"]
    assert warning == page.texts["li"][0]


def test_an_evaluation_of_only_held_out_prompts_is_one(theirs):
    edit(theirs, generated={"accuracy": None})
    lines = [" ".join(line.split()) for line in open_comparison([theirs]).format_lines()]
    assert "held-out prompts 70 % (60 % to 80 %)" in lines


def break_between_chunks(picture: Path, broken: Path) -> None:
    """Split a PNG's data by a chunk with an unlawful name."""
    whole = picture.read_bytes()
    at = whole.index(b"IDAT")
    size = int.from_bytes(whole[at - 4 : at], "big")
    data, after = whole[at + 4 : at + 4 + size], whole[at + 8 + size :]

    def chunk(name: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + name + data + crc32(name + data).to_bytes(4, "big")

    half = size // 2
    pieces = chunk(b"IDAT", data[:half]), chunk(b"\0\0\0\0", b""), chunk(b"IDAT", data[half:])
    broken.write_bytes(whole[: at - 4] + b"".join(pieces) + after)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"file": "gone.png"}, "its picture is missing"),
        ({"file": "../theirs.png"}, "its picture is missing"),
        ({"file": "other.png"}, "other.png is not the picture that was made with this record"),
        ({"sha256": None, "file": "broken.png"}, "broken PNG file"),
    ],
)
def test_another_picture_is_not_shown_as_theirs(theirs, change, reason, tmp_path):
    strips(2, seed=9).save(tmp_path / "other.png")
    break_between_chunks(tmp_path / "other.png", tmp_path / "broken.png")
    edit(theirs, shown=change)
    html = write_comparison(open_comparison([theirs]), tmp_path / "page.html").read_text()
    page = Page(html)
    assert page.with_class("clip") == []
    (problem,) = page.texts["li"]
    assert problem.startswith("theirs.json: ")
    assert reason in problem


def test_text_that_no_file_can_hold_is_replaced(theirs, tmp_path):
    edit(theirs, protocol={"version": "\ud800"})
    assert write_comparison(open_comparison([theirs]), tmp_path / "page.html").stat().st_size


def test_command_compares_several_runs(two_runs, tmp_path):
    out = tmp_path / "two.html"
    done = run_warm("-m", "t2vgan.report", *two_runs, "--out", out)
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert "training prompts 90 % (85 % to 95 %) 20 % (85 % to 95 %)" in words
    assert f"{out} (" in done.stdout
    assert "2 runs compared" in out.read_text()
