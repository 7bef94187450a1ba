"""The report page, on run folders written here record by record."""

import base64
import io
import json
import re
import shlex
import struct
import subprocess
import sys
import time
import zlib
from html.parser import HTMLParser
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from jinja2 import UndefinedError
from markupsafe import escape
from PIL import Image

from t2vgan.errors import UserError
from t2vgan.report import open_comparison, write_comparison, write_report
from t2vgan.report.charts import Chart, Plot, build_plot, log_ticks, ticks
from t2vgan.report.comparison import MAX_RUNS
from t2vgan.report.contact_sheets import MAX_MOMENTS, ROOM, choose_evenly
from t2vgan.report.formatting import (
    format_clock,
    format_duration,
    format_number,
    format_percent,
)
from t2vgan.report.html import render
from t2vgan.report.pictures import MAX_PICTURE_BYTES
from t2vgan.report.records import read_run
from tests.support.run_folders import (
    FRAMES,
    HEIGHT,
    HELD_OUT,
    HOSTILE,
    NUM_SEEDS,
    PROMPTS,
    WIDTH,
    add_samples,
    clock,
    evaluation_record,
    make_evaluation,
    make_run,
    strips,
    train_record,
    write_metrics,
)
from tests.support.warm import run_warm

VOID = {"br", "meta", "input", "link", "img", "hr"}
SECTIONS = (
    "Seeds beside real clips",
    "Samples over training",
    "Attributes",
    "Curves",
    "Prompt by prompt",
    "Final evaluation",
    "Events",
    "Hardware, software and data",
    "Configuration",
    "How to reproduce",
)


class Page(HTMLParser):
    """Parse a page strictly: every opened element is closed, in order."""

    def __init__(self, html: str):
        super().__init__()
        self.html = html
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        self.texts.setdefault(name, []).append("")
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.elements.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if data.isspace() and "\n" in data:  # between elements: a template's own line breaks
            return
        for name in self.open:
            self.texts[name][-1] += data

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for element, attributes in self.elements if element == name]

    def with_class(self, name: str) -> list[dict[str, str | None]]:
        return [
            attributes
            for _, attributes in self.elements
            if name in (attributes.get("class") or "").split()
        ]


@pytest.fixture
def run_dir(tmp_path) -> Path:
    return make_run(tmp_path / "tiny <run>")


def report_of(run_dir: Path) -> tuple[str, Page]:
    html = write_report(run_dir).read_text(encoding="utf-8")
    return html, Page(html)


def test_a_full_run_shows_every_section(run_dir):
    html, page = report_of(run_dir)
    assert page.texts["h2"] == [*SECTIONS]
    assert page.texts["h1"] == ["tiny <run>"]
    assert "preset quickstart" in html
    assert "train.seed" in page.texts["details"][0]
    assert "accelerate launch train.py quickstart --run-dir 'a b'" in page.texts["pre"][0]
    assert "resumed from <step_400>" in page.texts["table"][-2]
    assert "c0ffee" in html
    titles = page.texts["figcaption"]
    assert "Last: the evaluation at step 1,000, 20 clips a prompt." in html
    for title in ("Prompt accuracy", "startsize", "Loss", "Learning rate", "tomorrow/number"):
        assert any(title in caption for caption in titles), title


def test_the_page_is_self_contained_and_runs_no_script(run_dir):
    html, page = report_of(run_dir)
    assert not {"script", "link", "iframe", "object", "embed", "img"} & {
        n for n, _ in page.elements
    }
    for _, attributes in page.elements:
        assert not {"src", "href", "srcset", "xlink:href"} & attributes.keys()
        assert not any(name.startswith("on") for name in attributes)
    styles = "".join(page.texts["style"])
    assert {url[:5] for url in re.findall(r"url\((.{5})", styles)} == {"data:"}
    assert "@import" not in styles
    policy = next(a["content"] for a in page.named("meta") if "http-equiv" in a)
    assert "default-src 'none'" in policy
    assert len(html) < 8e6


def test_hostile_text_stays_text(run_dir):
    html, page = report_of(run_dir)
    assert "<script" not in html
    assert any(HOSTILE in row for row in page.texts["tr"])
    assert any(attributes.get("title", "").startswith(HOSTILE) for attributes in page.named("i"))
    assert "<run>" not in html


def sheet_of(html: str, number: int) -> Page:
    """Return the nth section of a page by itself."""
    return Page(re.findall("<section>.*?</section>", html, re.DOTALL)[number])


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


def pictures_of(page: Page) -> dict[str, np.ndarray]:
    """Return the pixels of each strip of a page by its CSS class."""
    found = re.findall(r"\.(\w+){background-image:url\(data:image/webp;base64,([^)]*)", page.html)
    return {
        name: np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
        for name, data in found
    }


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
    assert "Drawn at step 1,000" in page.texts["p"][0]
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
    assert "kept no real clips" in page.texts["p"][0]
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


def cells_of(html: str) -> list[list[str]]:
    """Return the texts of a table's cells, row by row."""
    rows = re.findall("<tr>(.*?)</tr>", html, re.DOTALL)
    split = (re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows)
    return [[re.sub("<.*?>", "", cell) for cell in row] for row in split]


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


def test_the_final_evaluation_has_the_last_word_on_attributes(run_dir):
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


def test_the_commands_lead_from_the_data_to_this_page(run_dir):
    (run_dir / "config.json").write_text(json.dumps({"data": {"path": "my data"}}))
    _, page = report_of(run_dir)
    lines = [line for line in page.texts["pre"][0].splitlines() if line and line[0] != "#"]
    folder = shlex.quote(str(run_dir))
    assert [shlex.split(line)[:3] for line in lines] == [
        ["git", "checkout", "c0ffee"],
        ["python", "-m", "data_tools.build_shards"],
        ["accelerate", "launch", "train.py"],
        ["python", "generate.py", "--weights"],
        ["python", "-m", "t2vgan.evaluation"],
        ["python", "-m", "t2vgan.report"],
    ]
    build = "circles --out 'my data' --num-clips 100 --size 12x16 --seed 4"
    assert lines[1].endswith(build)
    assert lines[5] == f"python -m t2vgan.report {folder}"


@pytest.fixture
def two_runs(run_dir) -> list[Path]:
    """Two runs of one name, of which the second is younger and has another seed."""
    other = make_run(run_dir.parent / "other" / run_dir.name)
    write_metrics(
        other,
        [
            *(train_record(step) for step in range(0, 601, 150)),
            add_samples(other, 600, prompts=(HELD_OUT, "<new> prompt")),
            evaluation_record(600, 0.2, 0.6),
        ],
    )
    config = {"train": {"seed": 4, "betas": [0.0, 0.99]}, "preset": "quickstart"}
    (other / "config.json").write_text(json.dumps(config))
    return [run_dir, other]


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
    with pytest.raises(UserError, match="named twice"):
        open_comparison([two_runs[0], two_runs[0] / "."])
    with pytest.raises(UserError, match=r"9 are named.*holds 8"):
        open_comparison([make_run(tmp_path / f"run{n}") for n in range(9)])
    with pytest.raises(UserError, match="gone is not there"):
        open_comparison([two_runs[0], tmp_path / "gone"])
    with pytest.raises(UserError, match=r"holds no metrics\.jsonl"):
        open_comparison([two_runs[0], tmp_path])
    evaluation = make_evaluation(two_runs[0] / "evaluation.json")
    with pytest.raises(UserError, match="named twice"):
        open_comparison([two_runs[0], evaluation])
    with pytest.raises(UserError, match=r"config\.json is no evaluation"):
        open_comparison([two_runs[0], two_runs[0] / "config.json"])


@pytest.fixture
def theirs(tmp_path) -> Path:
    return make_evaluation(tmp_path / "theirs.json")


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
        "The numbers are of different data: each stands beside its own."
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


def test_evaluations_alone_are_a_page_of_numbers(theirs, tmp_path):
    (tmp_path / "ours").mkdir()
    ours = make_evaluation(tmp_path / "ours" / "evaluation.json")
    edit(ours, protocol={"version": "attributes-4"}, generated={"accuracy": 0.0})
    comparison = open_comparison([ours, theirs])
    html = write_comparison(comparison, tmp_path / "page.html").read_text()
    page = Page(html)
    assert page.texts["h2"] == ["Final numbers", "Samples"]
    assert page.texts["li"] == [
        "The numbers are of different protocols: each stands beside its own."
    ]
    assert page.texts["b"][0] == "40\N{NO-BREAK SPACE}%", "better than none at all"
    assert len(page.with_class("clip")) == 4
    assert "training time" not in html
    heading, *_, warning = comparison.format_lines()
    assert heading.split() == ["ours", "theirs.json"]
    assert warning == page.texts["li"][0]


def test_an_evaluation_of_held_out_prompts_alone_is_one(theirs):
    edit(theirs, generated={"accuracy": None})
    lines = [" ".join(line.split()) for line in open_comparison([theirs]).format_lines()]
    assert "held-out prompts 70 % (60 % to 80 %)" in lines


def break_between_chunks(picture: Path, broken: Path) -> None:
    """Cut a PNG's data in two, with a chunk between them that has no lawful name."""
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


def test_warnings_stand_at_the_top_the_last_first(run_dir):
    _, page = report_of(run_dir)
    assert page.with_class("problems") == [], "an event is no warning"
    with open(run_dir / "metrics.jsonl", "a") as file:
        for step in range(1001, 1009):
            event = {"kind": "event", **clock(step), "message": f"<bad {step}>", "warning": True}
            print(json.dumps(event), file=file)
    _, page = report_of(run_dir)
    (listed,) = page.texts["ul"]
    assert listed.index("<bad 1008>") < listed.index("<bad 1004>")
    assert "<bad 1003>" not in listed
    assert "3 earlier warnings" in listed


def test_the_verdict_and_the_first_time_on_target(run_dir):
    _, page = report_of(run_dir)
    assert page.texts["p"][1] == (
        "90\N{NO-BREAK SPACE}% of clips do what a training prompt says, and "
        "50\N{NO-BREAK SPACE}% what a held-out one says, after 1 min 40 s of training."
    )
    assert "95\N{NO-BREAK SPACE}% on both after 50 s" in page.texts["dl"][0]


@pytest.mark.parametrize(
    ("accuracy", "held_out", "remark"),
    [
        (0.94, 1.0, "95 % not reached yet"),
        (1.0, 0.94, "95 % not reached yet"),
        (0.95, None, "95 % after 10 s"),
        (None, None, "95 % not reached yet"),
    ],
)
def test_the_target_asks_for_every_accuracy_measured(run_dir, accuracy, held_out, remark):
    write_metrics(run_dir, [evaluation_record(100, accuracy, held_out)])
    _, page = report_of(run_dir)
    assert remark in page.texts["dl"][0].replace("\N{NO-BREAK SPACE}", " ")


def test_best_is_the_evaluation_most_accurate_on_training_prompts(run_dir):
    _, page = report_of(run_dir)
    row = next(row for row in page.texts["tr"] if row.startswith(HELD_OUT))
    assert row == f"{HELD_OUT} held out50\N{NO-BREAK SPACE}%95\N{NO-BREAK SPACE}%"


def test_the_final_evaluation_has_the_last_word(run_dir):
    scores = {"accuracy": 0.97, "accuracy_interval": [0.96, 0.98], "accuracy_held_out": 0.99,
              "per_prompt": dict.fromkeys(PROMPTS, 0.97)}  # fmt: skip
    evaluation = {
        "protocol": {"weights_sha256": "abc123", "num_clips": 2000},
        "generated": scores,
        "ceiling": {"accuracy": 0.999},
        "controls": {"chance": 0.0556, "shuffled_prompts": {"accuracy": 0.06}},
        "relative_to_real": {"diversity": 0.93, "drift_area": None},
    }
    (run_dir / "evaluation.json").write_text(json.dumps(evaluation))
    html, page = report_of(run_dir)
    assert page.texts["p"][1].startswith("97\N{NO-BREAK SPACE}% of clips")
    table = next(text for text in page.texts["table"] if "ceiling" in text)
    for cell in ("97\N{NO-BREAK SPACE}%96\N{NO-BREAK SPACE}% to 98\N{NO-BREAK SPACE}%",
                 "99.9\N{NO-BREAK SPACE}%", "controls shuffled prompts"):  # fmt: skip
        assert cell in table
    facts = next(text for text in page.texts["dl"] if "abc123" in text)
    assert facts.startswith("controls chance0.0556relative to real diversity0.93weights sha256")
    bars = sheet_of(html, 4).with_class("fill")
    assert {bar["style"] for bar in bars} == {"width:97.0%"}


def test_a_run_that_only_started_still_gives_a_page(tmp_path):
    write_metrics(tmp_path, [{"kind": "event", **clock(0), "message": "started"}])
    html, page = report_of(tmp_path)
    assert page.texts["h2"] == [*SECTIONS]
    assert "Not evaluated yet" in html
    assert not page.with_class("clip")
    assert "started" in html


@pytest.mark.parametrize("piece", ["config.json", "run.json", "evaluation.json"])
@pytest.mark.parametrize(
    "content", ["", "{", "[1]", "null", '{"held_out_prompts": 3}', "[" * 10**5]
)
def test_a_damaged_file_is_tolerated(run_dir, piece, content):
    (run_dir / piece).write_text(content)
    html, page = report_of(run_dir)
    assert page.texts["h2"] == [*SECTIONS]
    assert (f"{piece}: not a JSON object" in html) == (not content.startswith('{"'))


def test_damaged_lines_of_metrics_are_counted(run_dir):
    with open(run_dir / "metrics.jsonl", "ab") as file:
        file.write(b'{"kind": "train"}\n{"kind": "train", "step": 1e999}\n\xff\xfe\n[]\n')
        file.write(b'{"kind": "train", "step": -1, "clips_seen": 1, "seconds": 1}\n{"ki')
    html, _ = report_of(run_dir)
    assert "metrics.jsonl: lines that are not records: 6" in html


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


@pytest.mark.parametrize(
    "value",
    [1e308, -1e308, 10**308, 10**400, -(10**400)],
    ids=["1e308", "-1e308", "i308", "i400", "-i400"],
)
def test_numbers_at_the_ends_of_floats_are_tolerated(run_dir, tmp_path, value):
    """Everywhere: in a clock, in every curve, in an interval and in a confusion matrix."""
    losses = {key: value for key in train_record(0) if key not in clock(0) and key != "kind"}
    confusion = {"right": value, "confusion": {"a": {"a": value, "b": 1e308}}}
    scores = {"accuracy_interval": [value, value], "per_attribute": {"shape": confusion}}
    records = [
        *(train_record(step) for step in range(2)),
        *(train_record(step) | losses for step in range(2, 4)),
        train_record(4) | dict.fromkeys(losses, -value),
        train_record(0) | dict.fromkeys(("step", "clips_seen", "seconds"), value),
        evaluation_record(4, 1.0, 0.9) | scores,
    ]
    write_metrics(run_dir, records)
    (run_dir / "evaluation.json").write_text(json.dumps(evaluation_record(4, 1.0, value) | scores))
    _, page = report_of(run_dir)
    assert all(0 <= float(dot["cy"]) <= 200 for dot in page.with_class("dot"))
    comparison = open_comparison([run_dir, make_run(tmp_path / "other")])
    write_comparison(comparison, tmp_path / "two.html")
    assert list(comparison.format_lines())


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
    assert "too heavy for the page" in html
    assert not page.with_class("clip")


def test_a_report_that_fails_leaves_the_old_one(run_dir, monkeypatch):
    report = write_report(run_dir)
    old = report.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(run_dir)
    assert report.read_bytes() == old
    assert not list(run_dir.glob(".tmp-*"))


def test_no_metrics_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match=r"is not there.*runs/quickstart"):
        write_report(tmp_path / "nothing")
    (tmp_path / "metrics.jsonl").write_text("\n{\n")
    with pytest.raises(UserError, match="no readable record"):
        write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_command_writes_the_page_without_torch(run_dir):
    code = (
        "import sys, runpy; sys.argv = ['report', sys.argv[1]]\n"
        "try: runpy.run_module('t2vgan.report', run_name='__main__')\n"
        "finally: assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code, run_dir], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{run_dir / 'report.html'} (" in done.stdout


def test_command_answers_a_missing_folder_in_one_line(tmp_path):
    done = run_warm("-m", "t2vgan.report", tmp_path / "gone")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {tmp_path / 'gone'} is not there")
    assert done.stderr.count("\n") == 1


def test_command_without_a_run_says_what_it_needs():
    done = run_warm("-m", "t2vgan.report")
    assert done.returncode == 2
    assert done.stderr.startswith("error: runs: none is named")


def test_command_compares_several_runs(two_runs, tmp_path):
    out = tmp_path / "two.html"
    done = run_warm("-m", "t2vgan.report", *two_runs, "--out", out)
    assert done.returncode == 0, done.stderr
    words = " ".join(done.stdout.split())
    assert "training prompts 90 % (85 % to 95 %) 20 % (85 % to 95 %)" in words
    assert f"{out} (" in done.stdout
    assert "2 runs compared" in out.read_text()


def test_a_long_run_stays_light_and_quick(run_dir):
    records = [train_record(step) for step in range(20_000)]
    write_metrics(run_dir, records)
    start = time.process_time()
    html, page = report_of(run_dir)
    assert time.process_time() - start < 10
    assert len(html) < 2e6
    assert len(page.with_class("band")) > 0


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


def test_choose_evenly_keeps_the_ends():
    assert choose_evenly(range(3), 6) == [0, 1, 2]
    assert choose_evenly(range(11), 6) == [0, 2, 4, 6, 8, 10]
    assert choose_evenly(range(100), 6)[::5] == [0, 99]


def test_records_keep_the_order_of_training(run_dir):
    run = read_run(run_dir)
    assert [record["step"] for record in run.train] == list(range(0, 1001, 100))
    assert run.last["step"] == 1000
