"""The report page, on run folders written here record by record."""

import base64
import io
import json
import math
import re
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from t2vgan.errors import UserError
from t2vgan.report import write_report
from t2vgan.report.charts import Chart, line_chart, log_ticks, ticks
from t2vgan.report.markup import duration, percent, short, stopwatch, tag
from t2vgan.report.records import read_run
from t2vgan.report.sheet import MAX_MOMENTS, choose_evenly

HOSTILE = """circle "><script src='https://evil.example/x.js'>alert(1)</script>&'"""
HELD_OUT = "circle moving up-right"
PROMPTS = ("circle moving left", "circle moving right", HOSTILE, HELD_OUT)
FRAMES, HEIGHT, WIDTH = 5, 12, 16
VOID = {"br", "meta", "input", "link", "img", "hr"}
SECTIONS = (
    "Samples over training",
    "Curves",
    "Prompt by prompt",
    "Final evaluation",
    "Events",
    "Configuration",
    "How to reproduce",
)


class Page(HTMLParser):
    """Parse a page strictly: every opened element is closed, in order."""

    def __init__(self, html: str):
        super().__init__()
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


def clock(step: int) -> dict:
    return {"step": step, "clips_seen": 16 * step, "seconds": 0.1 * step, "wall_time": 1.7e9 + step}


def strips(num_clips: int = len(PROMPTS), seed: int = 0) -> Image.Image:
    shape = (num_clips * HEIGHT, FRAMES * WIDTH, 3)
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def add_samples(run_dir: Path, step: int, *, prompts=PROMPTS, suffix="webp", **changes) -> dict:
    """Write a film-strip picture and return its record."""
    file = f"samples/step_{step:08d}.{suffix}"
    (run_dir / "samples").mkdir(exist_ok=True)
    strips(len(prompts), seed=step).save(run_dir / file, lossless=True, method=0)
    geometry = {"num_frames": FRAMES, "height": HEIGHT, "width": WIDTH}
    return {"kind": "samples", "file": file, "prompts": [*prompts], **geometry, **clock(step),
            **changes}  # fmt: skip


def train_record(step: int) -> dict:
    return {
        "kind": "train",
        **clock(step),
        "clips_per_second": 160.0,
        "loss/discriminator": 0.5 + math.sin(step),
        "loss/generator": 1.5,
        "penalty": None if step == 300 else 10 / (step + 1),  # a NaN, as the run log writes it
        "logits/real": 1.0,
        "logits/fake": -1.0,
        "lr/generator": 2e-3,
        "lr/discriminator": 1e-3,
        "gamma": 10.0,
        "ema/halflife": 500.0,
        "data/bad_samples": 0,
        "tomorrow/number": 7.0,
    }


def evaluation_record(step: int, accuracy: float, held_out: float) -> dict:
    per_prompt = dict.fromkeys(PROMPTS, accuracy) | {HELD_OUT: held_out}
    return {
        "kind": "evaluation",
        **clock(step),
        "accuracy": accuracy,
        "accuracy_held_out": held_out,
        "one_object": 0.98,
        "spread": {"start": 0.1, "size": 0.02, "speed": None},
        "per_prompt": per_prompt,
        "held_out_prompts": [HELD_OUT],
        "clips_per_prompt": dict.fromkeys(PROMPTS, 20),
    }


def write_metrics(run_dir: Path, records: list[dict]) -> None:
    lines = (json.dumps(record) for record in records)
    (run_dir / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def run_dir(tmp_path) -> Path:
    """A run of 1,000 steps with everything in it."""
    folder = tmp_path / "tiny <run>"
    folder.mkdir()
    records = [train_record(step) for step in range(0, 1001, 100)]
    records += [add_samples(folder, step) for step in range(0, 1001, 100)]
    records += [evaluation_record(500, 1.0, 0.95), evaluation_record(1000, 0.9, 0.5)]
    records += [{"kind": "event", **clock(400), "message": "resumed from <step_400>"}]
    write_metrics(folder, sorted(records, key=lambda record: record["step"]))
    config = {"preset": "quickstart", "train": {"seed": 3, "betas": [0.0, 0.99]}}
    (folder / "config.json").write_text(json.dumps(config))
    command = ["accelerate", "launch", "train.py", "quickstart", "--run-dir", "a b"]
    environment = {"command": command, "device": "cpu", "git_commit": "c0ffee"}
    (folder / "run.json").write_text(json.dumps(environment))
    return folder


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


def test_the_sheet_shows_first_to_last_moment_in_step(run_dir):
    html, page = report_of(run_dir)
    cells = page.with_class("clip")
    assert len(cells) == MAX_MOMENTS * len(PROMPTS)
    first_row = [cell["title"] for cell in cells[:MAX_MOMENTS]]
    assert first_row[0] == "circle moving left, after 0 clips"
    assert first_row[-1] == "circle moving left, after 16,000 clips"
    rows = [cell["style"] for cell in cells[::MAX_MOMENTS]]
    assert rows == [f"background-position-y:{at:.4f}%" for at in (0, 100 / 3, 200 / 3, 100)]
    loops = re.findall(r"animation:film (\S+) steps\((\d+), jump-none\) infinite", html)
    assert loops == [("0.500s", "5")] * MAX_MOMENTS


def test_the_pictures_of_the_sheet_are_the_runs_own_bytes(run_dir):
    html, _ = report_of(run_dir)
    pictures = re.findall(r"url\(data:image/webp;base64,([^)]*)\)", html)
    first = (run_dir / "samples" / "step_00000000.webp").read_bytes()
    assert base64.b64decode(pictures[0]) == first


def test_held_out_prompts_are_marked_and_come_last(run_dir):
    _, page = report_of(run_dir)
    labels = [text for text in page.texts["p"] if text.startswith("circle")]
    assert labels[-1] == f"{HELD_OUT} held out"
    assert not any("held out" in label for label in labels[:-1])


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
    _, page = report_of(run_dir)
    assert page.texts["p"][1].startswith("97\N{NO-BREAK SPACE}% of clips")
    table = next(text for text in page.texts["table"] if "ceiling" in text)
    for cell in ("97\N{NO-BREAK SPACE}%96\N{NO-BREAK SPACE}% to 98\N{NO-BREAK SPACE}%",
                 "99.9\N{NO-BREAK SPACE}%", "controls shuffled prompts"):  # fmt: skip
        assert cell in table
    facts = next(text for text in page.texts["dl"] if "abc123" in text)
    assert facts.startswith("controls chance0.0556relative to real diversity0.93weights sha256")
    assert {bar["style"] for bar in page.with_class("fill")} == {"width:97.0%"}


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
    assert "data:image/png" in html


@pytest.mark.parametrize("noisy", [False, True])
def test_a_heavy_picture_is_made_lighter_and_stays_exact_if_it_can(run_dir, monkeypatch, noisy):
    monkeypatch.setattr("t2vgan.report.sheet.MAX_PICTURE_BYTES", 4000)
    record = add_samples(run_dir, 100, prompts=PROMPTS * 2, suffix="png")
    file = run_dir / record["file"]
    picture = strips(2 * len(PROMPTS)) if noisy else Image.new("RGB", (80, 96), (200, 30, 7))
    picture.save(file, compress_level=0)
    write_metrics(run_dir, [record])
    html, page = report_of(run_dir)
    assert len(page.with_class("clip")) == 2 * len(PROMPTS)
    (text,) = re.findall(r"image/webp;base64,([^)]*)", html)
    shown = Image.open(io.BytesIO(base64.b64decode(text)))
    assert len(text) < file.stat().st_size / 2
    assert (np.asarray(shown.convert("RGB")) == np.asarray(picture)).all() != noisy


def test_a_report_that_fails_leaves_the_old_one(run_dir, monkeypatch):
    report = write_report(run_dir)
    old = report.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(run_dir)
    assert report.read_bytes() == old
    assert not list(run_dir.glob(".tmp-*"))


def test_no_metrics_is_the_users_mistake(tmp_path):
    with pytest.raises(UserError, match=r"no metrics\.jsonl.*runs/quickstart"):
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
    command = [sys.executable, "-m", "t2vgan.report", tmp_path / "gone"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: run_dir=")
    assert done.stderr.count("\n") == 1


def test_a_long_run_stays_light_and_quick(run_dir):
    records = [train_record(step) for step in range(20_000)]
    write_metrics(run_dir, records)
    start = time.perf_counter()
    html, page = report_of(run_dir)
    assert time.perf_counter() - start < 10
    assert len(html) < 2e6
    assert len(page.with_class("band")) > 0


def test_chart_puts_values_where_the_axes_say():
    chart = Chart("t", {}, unit="%", low=0, high=1)
    page = Page(
        line_chart(chart, [0, 50, 100], {"a": [0.0, None, 1.0], "b": [0.5, 0.5, 0.5]}, ["n"] * 3)
    )
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


@pytest.mark.parametrize("values", [[0.0], [-3.0, -3.0], [1e-9, 2e-9], [1e12, 0.0], [5.0, 5.0]])
@pytest.mark.parametrize("log", [False, True])
def test_any_values_can_be_drawn(values, log):
    x = [0.0] * len(values)
    page = Page(line_chart(Chart("t", {}, log=log), x, {"a": values}, [""] * len(values)))
    assert all(0 <= float(a["cy"]) <= 200 for a in page.with_class("dot"))
    assert page.with_class("y")


def test_ticks_are_round_and_inside():
    assert ticks(0, 1) == [0, 0.2, 0.4, 0.6, 0.8, 1]
    assert ticks(-0.3, 1.2) == [0, 0.5, 1]
    assert ticks(0, 128_000, 4) == [0, 50_000, 100_000]
    assert log_ticks(0.02, 3000) == [0.1, 1, 10, 100, 1000]
    assert log_ticks(2, 30) == [2, 5, 10, 20]


def test_numbers_read_well():
    assert [short(n) for n in (0, 1, -2.5, 0.002, 2e-5, 20_000, 1.5e6, 999.9, 999.4)] == [
        "0", "1", "-2.5", "0.002", "2e-5", "20k", "1.5M", "1k", "999"
    ]  # fmt: skip
    assert [duration(s) for s in (0, 59.6, 552, 3600, 93_784)] == [
        "0 s", "1 min 0 s", "9 min 12 s", "1 h 0 min", "26 h 3 min"
    ]  # fmt: skip
    shares = [percent(share).split("\N{NO-BREAK SPACE}")[0] for share in (0, 0.9612, 0.999999, 1)]
    assert shares == ["0", "96.1", "99.99", "100"]
    assert [stopwatch(s) for s in (0, 552, 3723)] == ["0:00", "9:12", "1:02:03"]


def test_tags_escape_what_is_not_markup():
    assert tag("p", "a<b", tag("b", "&"), None, title='"', class_="x", hidden=True) == (
        '<p title="&quot;" class="x" hidden>a&lt;b<b>&amp;</b></p>'
    )


def test_choose_evenly_keeps_the_ends():
    assert choose_evenly(range(3), 6) == [0, 1, 2]
    assert choose_evenly(range(11), 6) == [0, 2, 4, 6, 8, 10]
    assert choose_evenly(range(100), 6)[::5] == [0, 99]


def test_records_keep_the_order_of_training(run_dir):
    run = read_run(run_dir)
    assert [record["step"] for record in run.train] == list(range(0, 1001, 100))
    assert run.last["step"] == 1000
