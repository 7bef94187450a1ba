"""The page of one run, from run folders written record by record."""

import json
import re
import shlex
import subprocess
import sys
import time

import pytest

from t2vgan.errors import UserError
from t2vgan.report import open_comparison, write_comparison, write_report
from t2vgan.report.records import read_run
from tests.support.html_page import SECTIONS, report_of, sheet_of
from tests.support.run_folders import (
    HELD_OUT,
    HOSTILE,
    PROMPTS,
    clock,
    evaluation_record,
    make_run,
    train_record,
    write_metrics,
)
from tests.support.warm import run_warm


def test_a_full_run_shows_every_section(run_dir):
    html, page = report_of(run_dir)
    assert page.texts["h2"] == [*SECTIONS]
    assert page.texts["h1"] == ["tiny <run>"]
    assert "train.seed" in page.texts["details"][0]
    assert "accelerate launch train.py quickstart --run-dir 'a b'" in page.texts["pre"][0]
    assert "resumed from <step_400>" in page.texts["table"][-2]
    assert "c0ffee" in html
    titles = page.texts["figcaption"]
    assert "Last: the evaluation at step 1,000, 20 clips per prompt." in html
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


def test_the_commands_lead_from_the_data_to_this_page(run_dir):
    (run_dir / "config.json").write_text(json.dumps({"data": {"path": "my data"}}))
    _, page = report_of(run_dir)
    lines = [line for line in page.texts["pre"][0].splitlines() if line and line[0] != "#"]
    folder = shlex.quote(str(run_dir))
    assert [shlex.split(line)[:3] for line in lines] == [
        ["git", "checkout", "c0ffee"],
        ["t2vgan", "build", "circles"],
        ["accelerate", "launch", "train.py"],
        ["t2vgan", "generate", "--weights"],
        ["t2vgan", "evaluate", "--weights"],
        ["t2vgan", "report", str(run_dir)],
    ]
    build = "circles --out 'my data' --num-clips 100 --size 12x16 --seed 4"
    assert lines[1].endswith(build)
    assert lines[5] == f"t2vgan report {folder}"


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
        "90\N{NO-BREAK SPACE}% of clips match their training prompt, and "
        "50\N{NO-BREAK SPACE}% their held-out prompt, after 1 min 40 s of training."
    )
    assert "95\N{NO-BREAK SPACE}% on both after 50 s" in page.texts["dl"][0]


@pytest.mark.parametrize(
    ("accuracy", "held_out", "remark"),
    [
        (0.94, 1.0, "95 % not reached yet"),
        (1.0, 0.94, "95 % not reached yet"),
        (0.95, None, "95 % after 10 s"),
        (None, None, "95 %: not measured, because no clip could be scored"),
    ],
)
def test_the_target_asks_for_every_accuracy_measured(run_dir, accuracy, held_out, remark):
    write_metrics(run_dir, [evaluation_record(100, accuracy, held_out)])
    _, page = report_of(run_dir)
    assert remark in page.texts["dl"][0].replace("\N{NO-BREAK SPACE}", " ")


def test_alarms_that_are_on_stand_above_the_warnings(run_dir):
    write_metrics(
        run_dir,
        [
            train_record(100),
            alarm_record(200, "prompts_ignored", warning=True),
            alarm_record(300, "seeds_ignored", warning=True),
            alarm_record(400, "seeds_ignored", over=True),
            {"kind": "event", **clock(500), "message": "bad sample", "warning": True},
        ],
    )
    _, page = report_of(run_dir)
    alarms, warnings = page.texts["ul"][:2]
    assert "alarm since step 200: prompts_ignored <raised>" in alarms
    assert "seeds_ignored" not in alarms
    assert "bad sample" in warnings
    assert "prompts_ignored" not in warnings


def alarm_record(step: int, name: str, **state: bool) -> dict:
    message = f"{name} <raised>"
    return {"kind": "event", **clock(step), "message": message, "alarm": name, **state}


def test_an_evaluation_without_a_meter_shows_agreement_and_why_no_accuracy(run_dir):
    agreement = {"accuracy": 0.625, "real": 0.875, "real_prompts_shuffled": 0.125}
    numbers = {"agreement": agreement, "diversity_pixels": 0.5, "motion_energy": 0.9}
    reason = "the meter does not know these prompts"
    evaluation = {"kind": "evaluation", **clock(100), "accuracy_missing": reason}
    write_metrics(run_dir, [train_record(100), evaluation | {"clip_numbers": numbers}])
    html, page = report_of(run_dir)
    assert "62.5 % of clips agree with their prompt" in html.replace("\N{NO-BREAK SPACE}", " ")
    assert f"95\N{NO-BREAK SPACE}%: not measured, because {reason}" in html
    assert "not reached yet" not in html
    captions = page.texts["figcaption"]
    for title in ("Text-video agreement", "Diversity within a prompt", "Motion energy"):
        assert any(title in caption for caption in captions), title


def test_without_evaluations_the_page_says_that_they_are_off(run_dir):
    (run_dir / "config.json").write_text('{"evaluate_every_steps": 0}')
    write_metrics(run_dir, [train_record(100)])
    html, _ = report_of(run_dir)
    assert "not measured, because --evaluate-every-steps is 0" in html
    assert "not reached yet" not in html


def test_best_is_the_last_evaluation_not_measurably_below_the_highest(run_dir):
    """As the run chooses the weights that it keeps."""
    _, page = report_of(run_dir)
    row = next(row for row in page.texts["tr"] if row.startswith(HELD_OUT))
    assert row == f"{HELD_OUT} held out50\N{NO-BREAK SPACE}%95\N{NO-BREAK SPACE}%"
    evaluations = [
        evaluation_record(step, accuracy, 0.5) | {"accuracy_interval": interval}
        for step, accuracy, interval in (
            (100, 0.5, [0.45, 0.55]), (200, 0.9, [0.85, 0.95]), (300, 0.87, [0.82, 0.92]),
            (400, 0.84, None),
        )
    ]  # fmt: skip
    write_metrics(run_dir, evaluations)
    assert read_run(run_dir).best_evaluation["step"] == 300
    write_metrics(run_dir, [train_record(100)])
    assert read_run(run_dir).best_evaluation is None


def test_the_final_evaluation_comes_first(run_dir):
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
    "value",
    [1e308, -1e308, 10**308, 10**400, -(10**400)],
    ids=["1e308", "-1e308", "i308", "i400", "-i400"],
)
def test_numbers_at_the_ends_of_floats_are_tolerated(run_dir, tmp_path, value):
    """In a clock, every curve, an interval and a confusion matrix."""
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


def test_command_writes_the_page_where_it_is_asked_to(run_dir, tmp_path):
    done = run_warm("-m", "t2vgan.report", run_dir, "--out", tmp_path / "a" / "page.html")
    assert done.stdout.startswith(f"{tmp_path / 'a' / 'page.html'} (")
    assert (tmp_path / "a" / "page.html").read_bytes().startswith(b"<!doctype html>")
    assert not (run_dir / "report.html").exists()


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
    assert done.stderr.startswith("error: runs: give at least one folder")


def test_a_long_run_stays_light_and_quick(run_dir):
    records = [train_record(step) for step in range(20_000)]
    write_metrics(run_dir, records)
    start = time.process_time()
    html, page = report_of(run_dir)
    assert time.process_time() - start < 10
    assert len(html) < 2e6
    assert len(page.with_class("band")) > 0


def test_records_keep_the_order_of_training(run_dir):
    run = read_run(run_dir)
    assert [record["step"] for record in run.train] == list(range(0, 1001, 100))
    assert run.last["step"] == 1000
