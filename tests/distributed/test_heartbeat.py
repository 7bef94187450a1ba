"""Each rank's step and activity, and which rank is silent."""

import json
import logging
import time

import pytest

from t2vgan.distributed import heartbeat
from t2vgan.distributed.heartbeat import Heartbeat, heartbeat_path
from t2vgan.utils.files import replace_file
from t2vgan.utils.records import find_heartbeats


@pytest.fixture
def fast(monkeypatch):
    monkeypatch.setattr(heartbeat, "WRITE_EVERY_SECONDS", 0.02)
    monkeypatch.setattr(heartbeat, "SILENT_AFTER_SECONDS", 0.2)


def wait_for(condition) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_rank_writes_its_status_and_removes_it(fast, tmp_path):
    path = heartbeat_path(tmp_path, 0)
    heartbeat_path(tmp_path, 1).parent.mkdir()
    heartbeat_path(tmp_path, 1).write_text("{}")
    with Heartbeat(tmp_path, rank=0, world_size=2) as beat:
        assert "rank 0" in beat.report()
        assert "step 0, starting" in beat.report()
        beat.update(12, "sampling")
        wait_for(lambda: path.exists() and json.loads(path.read_text())["step"] == 12)
        assert json.loads(path.read_text())["doing"] == "sampling"
        assert not beat.seen, "other ranks' files are read when they are needed only"
    assert not path.exists()


def test_slow_and_silent_ranks_are_distinguished(fast, tmp_path):
    with (
        Heartbeat(tmp_path, rank=0, world_size=3) as main,
        Heartbeat(tmp_path, rank=1, world_size=3) as slow,
    ):
        main.update(7, "training")
        slow.update(6, "waiting for data")
        wait_for(heartbeat_path(tmp_path, 0).exists)
        heartbeat_path(tmp_path, 2).write_text('{"step": 7, "doing": "training", "seconds": 0}')
        main.watch()
        wait_for(lambda: "missing or slow: rank 1, 2;" in main.report())
        report = main.report()
    lines = dict(line.split(" (", 1) for line in report.split("; ")[1:])
    assert "step 6, waiting for data" in lines["rank 1"]
    assert "silent" not in lines["rank 1"]
    assert "silent for" in lines["rank 2"]
    assert "silent" not in lines["rank 0"]


def test_a_rank_that_never_wrote_is_missing(fast, tmp_path):
    with Heartbeat(tmp_path, rank=0, world_size=2) as beat:
        report = beat.report()
    assert report.startswith("missing or slow: rank 1; ")
    assert report.endswith("rank 1 (never seen, or ended by itself)")


def test_files_are_removed_by_their_own_rank_and_of_ranks_that_are_no_more_by_rank_0(
    fast, tmp_path
):
    def ranks() -> list[int]:
        return sorted(find_heartbeats(tmp_path))

    for rank in (0, 1, 2, 3, 7):
        replace_file(heartbeat_path(tmp_path, rank), "{}")
    with Heartbeat(tmp_path, rank=1, world_size=3):
        assert set(ranks()) - {1} == {0, 2, 3, 7}
    assert ranks() == [0, 2, 3, 7]
    with Heartbeat(tmp_path, rank=0, world_size=3):
        assert set(ranks()) - {0} == {2}
    assert ranks() == [2]


def test_standing_still_is_warned_about_once(fast, tmp_path, caplog):
    heartbeat_path(tmp_path, 1).parent.mkdir()
    heartbeat_path(tmp_path, 1).write_text('{"step": 2, "doing": "reading"}')
    with caplog.at_level(logging.WARNING), Heartbeat(tmp_path, rank=0, world_size=2) as beat:
        beat.update(3, "training")
        time.sleep(0.1)
        assert not caplog.messages, "no timeout is known yet"
        beat.set_timeout(0.5)
        wait_for(lambda: caplog.messages)
        time.sleep(0.2)
    (warning,) = caplog.messages
    assert "rank 0 has waited 0 s; missing or slow: rank 1; " in warning
    assert "step 2, reading" in warning


def test_a_single_process_waits_for_nobody(fast, tmp_path, caplog):
    with caplog.at_level(logging.WARNING), Heartbeat(tmp_path, rank=0, world_size=1) as beat:
        beat.set_timeout(0.01)
        beat.update(3, "training")
        time.sleep(0.1)
    assert not caplog.messages


def test_a_folder_that_cannot_be_written_stops_nothing(fast, tmp_path):
    (tmp_path / "heartbeats").write_text("in the way")
    with Heartbeat(tmp_path, rank=0, world_size=1) as beat:
        time.sleep(0.1)
        assert beat.thread.is_alive()


@pytest.mark.parametrize(
    "content",
    [
        b"", b"[]", b"7", b"[" * 50_000, b"\xff\xfe", b'{"step": "seven", "host": [], "pid": null}',
        b'{"seconds": {}, "doing": 3}', b'{"host": "\\u001b[2J", "doing": "\\ud800"}',
    ],
)  # fmt: skip
def test_whatever_stands_in_another_ranks_file_is_one_line(content, fast, tmp_path):
    path = heartbeat_path(tmp_path, 1)
    path.parent.mkdir()
    beat = Heartbeat(tmp_path, rank=0, world_size=2)
    path.write_bytes(content)
    beat._read_others(time.monotonic())
    report = beat.report()
    assert "rank 1 (" in report
    assert report.isprintable()


def test_files_of_other_names_are_left_where_they_are(fast, tmp_path):
    folder = heartbeat_path(tmp_path, 0).parent
    folder.mkdir()
    names = ("rank_x.json", "rank_.json", "rank_\u0663.json", "rank_1e3.json")
    for name in names:
        (folder / name).write_text("{}")
    with Heartbeat(tmp_path, rank=0, world_size=1):
        pass
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
