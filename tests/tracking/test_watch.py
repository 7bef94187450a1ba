"""The live view: reading, state and drawing."""

import json
import os
import time
from pathlib import Path

import pytest
from rich.console import Console

from t2vgan.tracking.metrics_log import JsonlLogger
from t2vgan.tracking.watch.__main__ import watch
from t2vgan.tracking.watch.curve import draw_curves, resample
from t2vgan.tracking.watch.follow import Follower
from t2vgan.tracking.watch.view import draw, format_state


def write_steps(log: JsonlLogger, steps, **fields) -> None:
    for step in steps:
        numbers = {"loss/discriminator": 1 / step, "loss/generator": step / 7}
        log.write("train", step=step, clips_seen=8 * step, seconds=step, **numbers, **fields)


@pytest.fixture
def run_dir(tmp_path) -> Path:
    """A run of 100 steps as it looks after 20."""
    (tmp_path / "config.json").write_text(json.dumps({"train": {"num_steps": 100}}))
    environment = {"world_size": 2, "device": "cpu, 1 threads", "precision": "float32"}
    (tmp_path / "run.json").write_text(json.dumps(environment))
    skew = {"rank_skew": 1.5, "slowest_rank": 1}
    write_steps(JsonlLogger(tmp_path), range(2, 21, 2), clips_per_second=40.0, **skew)
    (tmp_path / "heartbeats").mkdir()
    for rank in range(2):
        beat = json.dumps({"step": 20 + rank, "doing": "training"})
        (tmp_path / "heartbeats" / f"rank_{rank:05d}.json").write_text(beat)
    return tmp_path


def seen(run_dir: Path, width: int = 100) -> str:
    console = Console(width=width, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(draw(Follower(run_dir).read(), width))
    return console.export_text()


def end(run_dir: Path, step: int) -> None:
    for path in (run_dir / "heartbeats").iterdir():
        path.unlink()
    JsonlLogger(run_dir).write("event", step=step, clips_seen=8 * step, seconds=step, message="bye")


def test_a_pipe_is_shown_the_run_once(run_dir, capsys):
    watch(run_dir)
    assert "step 21/100" in capsys.readouterr().out


def test_a_run_at_work(run_dir):
    picture = Follower(run_dir).read()
    assert picture.step == 21, "the furthest rank's"
    assert picture.seconds_left == (100 - 21) * 8 / 40
    text = " ".join(seen(run_dir).split())  # a long run_dir breaks the line
    for part in (
        "running: training", "2 x cpu, 1 threads, float32", "step 21/100", "clips 160",
        "40 clips/s", "left 0:00:16", "slowest rank 1: 1.50 x the median",
        "discriminator 0.05 generator 2.86",
    ):  # fmt: skip
        assert part in text


def test_how_a_run_can_be(run_dir, tmp_path_factory):
    empty = tmp_path_factory.mktemp("empty")
    assert format_state(Follower(empty).read())[0] == "not started"
    assert "no metrics yet" in seen(empty)
    hour_ago = time.time() - 3600
    for path in (*run_dir.glob("*"), *run_dir.glob("heartbeats/*")):
        os.utime(path, (hour_ago, hour_ago))
    assert format_state(Follower(run_dir).read())[0].startswith("silent for 1:00:")
    end(run_dir, 20)
    assert format_state(Follower(run_dir).read())[0].startswith("stopped 0:00:0")
    end(run_dir, 100)
    assert format_state(Follower(run_dir).read())[0] == "complete"


def test_a_wrong_clock_of_another_node_matters_at_the_first_reading_only(run_dir):
    hour_ago = time.time() - 3600
    paths = [run_dir / "metrics.jsonl", *(run_dir / "heartbeats").iterdir()]
    for path in paths:
        os.utime(path, (hour_ago, hour_ago))
    follower = Follower(run_dir)
    assert not follower.read().is_alive
    os.utime(paths[1], (hour_ago + 1, hour_ago + 1))  # it beats, by a clock that is an hour slow
    assert follower.read().is_alive


def test_it_reads_on_and_starts_over_when_the_run_does(run_dir):
    follower = Follower(run_dir)
    steps = lambda: [record["step"] for record in follower.read().train]  # noqa: E731
    assert steps() == list(range(2, 21, 2))
    log = JsonlLogger(run_dir)
    write_steps(log, [22])
    assert steps()[-2:] == [20, 22]
    line = (run_dir / "metrics.jsonl").read_bytes().splitlines(keepends=True)[-1]
    with open(run_dir / "metrics.jsonl", "ab") as file:
        file.write(line[:30])
        file.flush()
        assert steps()[-1] == 22, "half a line is no record yet"
        assert len(steps()) == 11
        file.write(line[30:] + b"not json\n[1]\n")
        file.flush()
    assert len(steps()) == 12
    log.truncate_after(10)
    write_steps(JsonlLogger(run_dir), [12])
    assert steps() == [2, 4, 6, 8, 10, 12]


def test_warnings_are_shown_the_last_ones_and_counted(run_dir):
    log = JsonlLogger(run_dir)
    for step in range(6):
        message = f"trouble {step} \x1b[31m in a stranger's shard"
        log.write("event", step=step, clips_seen=0, seconds=0, message=message, warning=True)
    text = seen(run_dir)
    assert "trouble 5" in text
    assert "trouble 2" in text
    assert "trouble 1" not in text
    assert "6 warnings in total" in text
    assert "\x1b" not in text


def test_reading_changes_nothing(run_dir):
    def listing():
        return {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in run_dir.rglob("*")}

    before = listing()
    seen(run_dir)
    assert listing() == before


@pytest.mark.parametrize("junk", ["", "{", "[]", "null", "\xff" * 10])
def test_damaged_files_are_no_end(run_dir, junk):
    for name in ("config.json", "run.json", "heartbeats/rank_00000.json", "metrics.jsonl"):
        (run_dir / name).write_text(junk, encoding="latin-1")
    assert "step 21/?" in seen(run_dir)


def test_a_straight_line_is_drawn_straight():
    lines = draw_curves({"up": [0.0, 1.0]}, width=9 + 4, height=2).plain.splitlines()
    assert lines[0] == "up 1  "
    top, bottom = (line[9:] for line in lines[1:])
    assert lines[1].strip().startswith("1 ┤")
    assert lines[2].strip().startswith("0 ┤")
    assert top[0] == bottom[-1] == " ", "nothing above or below the line"
    assert " " not in (top[-1], bottom[0])


def test_a_flat_line_a_gap_and_no_value():
    top, bottom = draw_curves({"flat": [5.0] * 3}, width=9 + 2, height=2).plain.splitlines()[1:]
    assert top[9:] == "  "
    assert bottom[9:] == "⣀⣀"
    for values in ([2.0**53] * 3, [1.7e308, -1.7e308], [1.7e308] * 40):
        assert len(draw_curves({"large": values}, width=9 + 2, height=2).plain.splitlines()) == 3
    gap = draw_curves({"gap": [0.0, 0.0, None, None, 0.0]}, width=9 + 5, height=1).plain
    assert " " in gap.splitlines()[1][9:].strip("\n")
    assert draw_curves({"none": []}, width=20, height=2).plain.startswith("none ?")


def test_resampling():
    assert resample([1, 2, 3, 4], 2) == [1.5, 3.5]
    assert resample([0, 3], 4) == [0, 1, 2, 3]
    assert resample([1, None, 3, 5], 2) == [1, 4]
    assert resample([7], 3) == [7, 7, 7]
    assert resample([], 3) == []


def test_strange_folders_are_shown_as_far_as_they_can_be_read(run_dir):
    for name in ("rank_x.json", "rank_\udc80.json", "rank_1\x1b[2J.json", "rank_-1.json"):
        (run_dir / "heartbeats" / name).write_text("{}")
    (run_dir / "heartbeats" / "rank_00007.json").mkdir()
    for name in ("run.json", "config.json"):
        (run_dir / name).unlink()
        os.mkfifo(run_dir / name)  # would block whoever opens it to read
    assert "step 21/?" in seen(run_dir)
    (run_dir / "metrics.jsonl").unlink()
    os.mkfifo(run_dir / "metrics.jsonl")
    assert "no metrics yet" in seen(run_dir)


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"clips_per_second": 1e-300}, "left ?"),  # centuries
        ({"clips_per_second": "fast"}, "0 clips/s"),
        ({"clips_per_second": -5}, "left ?"),
        ({"rank_skew": [1], "slowest_rank": "x"}, "step 21/100"),
        ({"loss/discriminator": 1.7e308, "loss/generator": -1.7e308}, "step 21/100"),
        ({"loss/discriminator": {"a": 1}}, "step 21/100"),
    ],
    ids=str,
)
def test_strange_numbers_are_left_out(run_dir, fields, shown):
    record = {"clips_per_second": 40.0} | fields
    JsonlLogger(run_dir).write("train", step=20, clips_seen=160, seconds=1, **record)
    assert shown in " ".join(seen(run_dir).split())
