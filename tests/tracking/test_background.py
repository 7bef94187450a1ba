"""Trackers that die, hang and lag delay no run; losses are logged."""

import logging
import threading
import time

import pytest

from t2vgan.tracking import BackgroundTracker


class Recorder:
    """A tracker that keeps records, each after waiting for `may_go`."""

    def __init__(self):
        self.steps, self.is_closed = [], False
        self.may_go = threading.Event()
        self.may_go.set()

    def log(self, record):
        self.may_go.wait(10)
        if record.get("is_bad"):
            raise ConnectionError("server\ngone")
        self.steps.append(record["step"])

    def close(self):
        self.is_closed = True


def test_records_arrive_in_order_and_the_tracker_is_closed(caplog):
    tracker = Recorder()
    background = BackgroundTracker("wandb", lambda: tracker)
    for step in range(100):
        background.put({"step": step})
    background.close()
    assert tracker.steps == list(range(100))
    assert tracker.is_closed
    assert background.num_dropped == 0
    assert caplog.messages == []


def test_a_tracker_that_lags_drops_records_and_delays_nobody(caplog):
    tracker = Recorder()
    tracker.may_go.clear()
    background = BackgroundTracker("wandb", lambda: tracker, max_queued=10)
    background.put({"step": 0})
    while not background.records.empty():  # the thread took it, and waits
        time.sleep(0.001)
    start = time.perf_counter()
    for step in range(1, 1001):
        background.put({"step": step})
    assert time.perf_counter() - start < 5, "a thousand waits of any length would show"
    assert background.num_dropped == 990
    tracker.may_go.set()
    background.close()
    assert tracker.steps == list(range(11)), "what was accepted arrives, the newest was dropped"
    lag, total = caplog.messages
    assert "its queue is full" in lag
    assert "missed 990 records" in total


def test_a_failure_costs_its_record_only_and_is_said_once(caplog):
    tracker = Recorder()
    background = BackgroundTracker("wandb", lambda: tracker)
    for step in range(6):
        background.put({"step": step, "is_bad": step in (2, 3)})
    background.close()
    assert tracker.steps == [0, 1, 4, 5]
    assert background.num_dropped == 2
    failure, total = caplog.messages
    assert "ConnectionError: server gone" in failure
    assert "missed 2 records" in total


def test_a_tracker_that_does_not_start(caplog):
    def start():
        raise ModuleNotFoundError("no such server")

    background = BackgroundTracker("wandb", start)
    for step in range(5):
        background.put({"step": step})
    background.close()
    assert background.num_dropped == 5
    assert "wandb did not start (ModuleNotFoundError: no such server)" in caplog.messages[0]
    assert "missed 5 records" in caplog.messages[-1]


@pytest.mark.parametrize("max_queued", [2, 10])  # the queue is full, or not
def test_a_tracker_that_hangs_is_left_behind(max_queued, caplog):
    tracker = Recorder()
    tracker.may_go.clear()
    background = BackgroundTracker("wandb", lambda: tracker, max_queued=max_queued)
    background.put({"step": 0})
    while not background.records.empty():
        time.sleep(0.001)
    for step in range(1, 3):
        background.put({"step": step})
    start = time.monotonic()
    with caplog.at_level(logging.WARNING):
        background.close(timeout_seconds=0.1)
    assert time.monotonic() - start < 5
    assert not tracker.is_closed
    assert background.num_dropped == 2
    assert any("has not finished" in message for message in caplog.messages)
    tracker.may_go.set()
