"""Precision, and what one process answers for many."""

import pytest
import torch

from t2vgan.distributed import context as distributed
from t2vgan.distributed.context import DistributedContext, is_lost_connection
from t2vgan.distributed.device import choose_precision, peak_memory_gb
from t2vgan.errors import UserError


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


def test_auto_takes_the_precision_of_accelerates_launch_file(monkeypatch):
    cpu = torch.device("cpu")
    by_hardware = choose_precision("auto", cpu)
    for launcher, expected in [("fp16", torch.float16), ("bf16", torch.bfloat16)]:
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launcher)
        assert choose_precision("auto", cpu) == expected
        other = {"fp16": "bf16", "bf16": "no"}[launcher]
        message = f"MIXED_PRECISION={launcher} .* train.precision={other}; use --train.precision"
        with pytest.raises(UserError, match=message):
            choose_precision(other, cpu)
        assert choose_precision(launcher, cpu) == expected
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp8")
    with pytest.raises(UserError, match=r"MIXED_PRECISION=fp8 .* use bf16 or fp16"):
        choose_precision("auto", cpu)
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    assert choose_precision("auto", cpu) == by_hardware, "the launcher's default asks for nothing"


def test_the_memory_is_that_of_the_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: 7e9 + device.index)
    assert 0.01 < peak_memory_gb(torch.device("cpu")) < 7, "the process's, beside an unused GPU"
    assert peak_memory_gb(torch.device("cuda", 1)) == pytest.approx(7)


def test_one_process_answers_for_all():
    processes = DistributedContext(num_cpu_threads=1)
    values = torch.arange(6).view(3, 2)
    assert processes.is_main
    assert torch.equal(processes.gather_slices(values), values)
    assert processes.any(True)
    assert not processes.any(False)
    assert processes.broadcast(7) == 7
    assert torch.get_num_threads() == 1


def test_a_mistake_of_one_rank_is_named_with_it_and_one_of_all_without(monkeypatch):
    processes = DistributedContext(num_cpu_threads=1)
    monkeypatch.setattr(processes, "world_size", 2)

    def fail() -> None:
        raise UserError("no such file")

    def run(function, other: str) -> object:
        monkeypatch.setattr(processes, "gather_objects", lambda own: [own, other])
        return processes.run_on_all(function)

    assert run(lambda: 7, "") == 7
    with pytest.raises(UserError, match=r"^rank 1: no such file$"):
        run(lambda: 7, "rank 1: no such file")
    with pytest.raises(UserError, match=r"^rank 0 on .*: no such file$"):
        run(fail, "")
    with pytest.raises(UserError, match=r"^no such file$"):
        run(fail, "rank 1: no such file")


def test_what_a_lost_connection_looks_like():
    """The first is gloo's in a backward pass without network."""
    assert is_lost_connection(RuntimeError("Application timeout caused pair closure"))
    assert is_lost_connection(RuntimeError("[gloo/transport/tcp/pair.cc] Connection reset by peer"))
    assert not is_lost_connection(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
