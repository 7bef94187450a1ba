"""Signals, precision and what one process answers for many."""

import os
import signal

import pytest
import torch

from t2vgan import distributed
from t2vgan.distributed import Processes, choose_precision, stop_on_signals


def test_a_signal_sets_the_flag_and_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signals() as stop:
        assert not stop.is_set()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.is_set()
        assert stop.reason == "SIGTERM"
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_ctrl_c_gives_up():
    with stop_on_signals() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.reason == "SIGINT"
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_precision_by_name_and_by_hardware(monkeypatch):
    cpu = torch.device("cpu")
    assert choose_precision("bf16", cpu) == torch.bfloat16
    assert choose_precision("no", cpu) == torch.float32
    for name, expected in [
        ("amx_bf16", torch.bfloat16),
        ("avx512_bf16", torch.bfloat16),
        ("avx2", torch.float32),
    ]:
        monkeypatch.setattr(
            distributed.torch.cpu, "get_capabilities", lambda name=name: {name: True}
        )
        assert choose_precision("auto", cpu) == expected, name


def test_one_process_answers_for_all():
    processes = Processes(num_cpu_threads=1)
    values = torch.arange(6).view(3, 2)
    assert processes.is_main
    assert torch.equal(processes.gather_slices(values), values)
    assert processes.any(True)
    assert not processes.any(False)
    assert processes.agree(7) == 7
    assert torch.get_num_threads() == 1
