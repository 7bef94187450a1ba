"""Waits that end at a deadline, also those that cannot be interrupted."""

import threading

import pytest

from t2vgan.distributed import deadline
from t2vgan.distributed.deadline import Deadline, call_before


def test_a_call_in_time_returns_or_raises_as_it_does_alone():
    assert call_before(Deadline(60), lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        call_before(Deadline(60), lambda: 1 / 0)


def test_after_the_deadline_nothing_is_left_and_no_call_is_waited_for(monkeypatch):
    monkeypatch.setattr(deadline, "GRACE_SECONDS", 0.01)
    over, released = Deadline(-5.0), threading.Event()
    assert over.left == 0
    with pytest.raises(TimeoutError):
        call_before(over, released.wait)
    released.set()
