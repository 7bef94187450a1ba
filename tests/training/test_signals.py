"""How a run is told to stop."""

import os
import signal
import sys

import pytest

from t2vgan.training import signals
from t2vgan.training.signals import STOP_SIGNALS, find_launcher, stop_on_signals
from t2vgan.utils import console


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_sets_the_flag_and_handlers_come_back(number):
    before = signal.signal(number, signal.SIG_DFL)  # these tests may run under nohup themselves
    try:
        with stop_on_signals() as stop:
            assert not stop.is_set()
            os.kill(os.getpid(), number)
            assert stop.is_set()
            assert stop.reason == signal.Signals(number).name
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_where_nobody_listens_any_more_a_signal_still_stops(monkeypatch):
    read_end, write_end = os.pipe()
    os.close(read_end)
    monkeypatch.setattr(sys, "stderr", os.fdopen(write_end, "w"))
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.reason == "SIGINT"
        console.print_stderr("and nothing else fails")


def test_under_nohup_a_terminal_may_close():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_on_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stop.is_set()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("variables", "launcher"),
    [({}, None), ({"WORLD_SIZE": "1"}, os.getppid()),
     ({"ACCELERATE_MIXED_PRECISION": "no"}, os.getppid())],
)  # fmt: skip
def test_only_a_launcher_is_watched(variables, launcher, monkeypatch):
    for name in ("WORLD_SIZE", "ACCELERATE_MIXED_PRECISION"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_launcher() == launcher
    with stop_on_signals(find_launcher()) as stop:
        assert not stop.is_set()


def test_a_second_ctrl_c_gives_up(monkeypatch):
    monkeypatch.setattr(signals, "GIVE_UP_AFTER_SECONDS", 0.0)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.reason == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("first", STOP_SIGNALS)
def test_further_signals_at_once_are_the_same_request(first, monkeypatch):
    """As when a terminal and a launcher both send one, or a scheduler and its user."""
    monkeypatch.setattr(signals, "GIVE_UP_AFTER_SECONDS", 100.0)  # however busy the machine is
    before = signal.signal(first, signal.SIG_DFL)  # these tests may run under nohup themselves
    try:
        with stop_on_signals() as stop:
            for number in (first, signal.SIGINT, signal.SIGTERM, signal.SIGINT):
                os.kill(os.getpid(), number)
            assert stop.reason == signal.Signals(first).name
    finally:
        signal.signal(first, before)


def test_a_first_ctrl_c_after_another_signal_does_not_give_up(monkeypatch):
    monkeypatch.setattr(signals, "GIVE_UP_AFTER_SECONDS", 0.0)
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.reason == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_nothing_interrupts_the_last_save():
    with stop_on_signals() as stop:
        stop.is_saving = True
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.reason == "SIGINT"


def test_a_launcher_that_died_before_we_looked_is_noticed():
    with stop_on_signals(launcher=os.getppid() + 1) as stop:
        assert stop.is_set()
        assert stop.reason == "the launcher died"
