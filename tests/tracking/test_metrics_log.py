"""metrics.jsonl, the status line, and who listens."""

import json
import logging
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from t2vgan.tracking.metrics_log import JsonlLogger, abbreviate_count, format_status, read_records


def write_steps(log: JsonlLogger, steps, kind="train") -> None:
    for step in steps:
        log.write(kind, step=step, clips_seen=16 * step, seconds=0.5 * step, value=step / 3)


def lines_of(run_dir: Path) -> list[str]:
    return (run_dir / "metrics.jsonl").read_text().splitlines()


def steps_of(run_dir: Path) -> list[int]:
    return [record["step"] for record in read_records(run_dir / "metrics.jsonl")]


def test_a_record_is_on_the_disk_as_soon_as_it_is_written(tmp_path):
    log = JsonlLogger(tmp_path / "runs" / "a")
    log.write("train", step=20, clips_seen=320, seconds=1.25, **{"loss/generator": 0.5, "gamma": 2})
    (record,) = map(json.loads, lines_of(tmp_path / "runs" / "a"))  # the file is still open
    assert abs(record.pop("wall_time") - time.time()) < 5
    assert record == {
        "kind": "train", "step": 20, "clips_seen": 320, "seconds": 1.25,
        "loss/generator": 0.5, "gamma": 2,
    }  # fmt: skip


def test_what_is_not_finite_becomes_null_at_any_depth(tmp_path):
    JsonlLogger(tmp_path).write(
        "evaluation", step=1, clips_seen=16, seconds=math.nan,
        bad=math.inf, tensor=torch.tensor(-math.inf), array=np.float32("nan"),
        per_prompt={"circle moving up": math.nan, "circle moving left": 0.5},
        several=(1.0, math.nan), fine=torch.tensor(0.25), count=np.int64(3), flag=True,
        file=Path("samples/a.png"), text="NaN", nothing=None,
    )  # fmt: skip
    record = json.loads(lines_of(tmp_path)[0], parse_constant=pytest.fail)
    assert record["seconds"] is record["bad"] is record["tensor"] is record["array"] is None
    assert record["per_prompt"] == {"circle moving up": None, "circle moving left": 0.5}
    assert record["several"] == [1.0, None]
    assert record["fine"] == 0.25
    assert record["count"] == 3
    assert record["flag"] is True
    assert record["file"] == "samples/a.png"
    assert record["text"] == "NaN"
    assert record["nothing"] is None


def test_only_the_main_rank_touches_the_disk(tmp_path):
    calls = []
    log = JsonlLogger(tmp_path / "run", is_main=False)
    log.on_record = calls.append
    write_steps(log, [1])
    log.truncate_after(0)
    log.close()
    assert calls == []
    assert not (tmp_path / "run").exists()


def test_resume_drops_later_records_and_goes_on(tmp_path):
    log = JsonlLogger(tmp_path)
    write_steps(log, [20, 40, 40, 60, 80])
    kept = lines_of(tmp_path)[:3]
    log.truncate_after(40)
    assert lines_of(tmp_path) == kept  # byte for byte
    write_steps(log, [60])
    assert steps_of(tmp_path) == [20, 40, 40, 60]
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_starting_over_drops_everything(tmp_path):
    write_steps(JsonlLogger(tmp_path), [0, 20])
    JsonlLogger(tmp_path).truncate_after(-1)
    assert lines_of(tmp_path) == []


def test_truncating_a_log_that_does_not_exist_makes_none(tmp_path):
    JsonlLogger(tmp_path).truncate_after(10)
    assert list(tmp_path.iterdir()) == []


def test_a_line_torn_anywhere_costs_only_itself(tmp_path):
    path = tmp_path / "metrics.jsonl"
    write_steps(JsonlLogger(tmp_path), [20, 40, 60])
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in range(last, len(whole) + 1):
        path.write_bytes(whole[:end])
        log = JsonlLogger(tmp_path)
        log.truncate_after(1000)
        write_steps(log, [80])
        log.close()
        complete = end >= len(whole) - 1  # only the newline may be missing
        assert steps_of(tmp_path) == ([20, 40, 60, 80] if complete else [20, 40, 80])


@pytest.mark.parametrize(
    "junk", [b"\xff\xfe\x00", b"[1, 2]", b"7", b"{}", b'{"step": "1"}', b"[" * 10**5]
)
def test_foreign_lines_are_passed_over(tmp_path, junk):
    write_steps(JsonlLogger(tmp_path), [20])
    with open(tmp_path / "metrics.jsonl", "ab") as file:
        file.write(junk + b"\n")
    write_steps(JsonlLogger(tmp_path), [40])
    assert steps_of(tmp_path) == [20, 40]


def test_records_wait_while_the_disk_is_full_and_none_is_cut(tmp_path, file_size_limit, caplog):
    """The kernel refuses bytes inside a line, like a full disk."""
    log = JsonlLogger(tmp_path)
    write_steps(log, [20, 40])
    size = (tmp_path / "metrics.jsonl").stat().st_size
    with file_size_limit(size + 30), caplog.at_level(logging.WARNING):
        write_steps(log, [60, 80])
        assert steps_of(tmp_path) == [20, 40]
        assert (tmp_path / "metrics.jsonl").stat().st_size == size, "no torn line"
        with pytest.raises(OSError, match=r"File too large|No space left"):
            log.close()
    (warning,) = caplog.messages
    assert "records are kept in memory" in warning
    write_steps(log, [100])
    log.close()
    assert steps_of(tmp_path) == [20, 40, 60, 80, 100]


def test_the_kinds_of_a_steps_records(tmp_path):
    log = JsonlLogger(tmp_path)
    assert log.read_kinds(20) == set()
    write_steps(log, [20])
    write_steps(log, [20, 40], kind="samples")
    assert log.read_kinds(20) == {"train", "samples"}
    assert log.read_kinds(40) == {"samples"}


def test_on_record_gets_what_is_written(tmp_path):
    received = []
    log = JsonlLogger(tmp_path)
    log.on_record = received.append
    log.write("train", step=20, clips_seen=320, seconds=1.0, gamma=2.0, bad=math.nan)
    write_steps(log, [40])
    assert received == list(read_records(log.path))
    assert received[0]["bad"] is None


STATUS = {
    "step": 1200,
    "num_steps": 9000,
    "clips_seen": 19_200,
    "clips_per_second": 412.4,
    "loss_discriminator": 0.6083,
    "loss_generator": 0.7391,
    "seconds_left": 312.2,
}
LINE = "step 1200/9000  clips 19.2k  412 clips/s  loss D 0.61 G 0.74  left 0:05:12"


def test_status_line():
    assert format_status(**STATUS) == LINE


def test_status_line_of_a_run_in_trouble():
    assert (
        format_status(**STATUS | {"clips_per_second": 0.0, "seconds_left": math.nan})
        == (LINE.replace("  412 clips/s", "").partition("  left")[0])
    )
    line = format_status(**STATUS | {"loss_generator": math.nan, "seconds_left": math.inf})
    assert line.endswith("loss D 0.61 G nan  left ?")


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (0.314, "0.314"), (7, "7"), (999, "999"), (999.6, "1k"), (1000, "1k"),
     (19_200, "19.2k"), (999_499, "999k"), (999_600, "1M"), (1_254_000, "1.25M"), (3e9, "3G")],
)  # fmt: skip
def test_counts_have_three_digits(count, text):
    assert abbreviate_count(count) == text
