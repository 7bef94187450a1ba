"""Precision, and collectives of one process and of two."""

import multiprocessing
import os
import time

import psutil
import pytest
import torch
import torch.distributed as dist
from accelerate.state import AcceleratorState

from t2vgan.distributed import context as distributed
from t2vgan.distributed.context import (
    DelayedAllReduce,
    DistributedContext,
    is_lost_connection,
    stop_without_peers,
)
from t2vgan.distributed.device import choose_precision, peak_memory_gb
from t2vgan.errors import AlreadyReportedError, RunStoppedError, UserError
from tests.support.commands import free_port

FORK = multiprocessing.get_context("fork")
LOST_PATIENCE = FORK.Event()


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
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda device: 7e9 + device.index)
    used = psutil.Process().memory_info().rss / 1e9
    assert 0.9 * used < peak_memory_gb(torch.device("cpu")) < 7, "beside an unused GPU"
    assert peak_memory_gb(torch.device("cuda", 1)) == pytest.approx(7)


def test_one_process_answers_for_all():
    processes = DistributedContext(num_cpu_threads=1)
    values = torch.arange(6).view(3, 2)
    assert processes.is_main
    assert torch.equal(processes.gather_slices(values), values)
    assert processes.any(True)
    assert not processes.any(False)
    assert processes.broadcast(7) == 7
    delayed = DelayedAllReduce(processes)
    assert delayed.all_reduce([3, 4], "of these") == ([3, 4], "of these")
    assert delayed.wait() is None
    assert torch.get_num_threads() == 1


def run_in_two_processes(function) -> list:
    """Call a function with each process's context; return its results."""
    port, started = str(free_port()), []
    for rank in ("0", "1"):
        variables = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "MASTER_PORT": port}
        variables |= {"MASTER_ADDR": "127.0.0.1", "ACCELERATE_USE_CPU": "true"}
        results = FORK.SimpleQueue()
        started.append((FORK.Process(target=run_as, args=(variables, function, results)), results))
        started[-1][0].start()
    found = [results.get() for _, results in started]
    for process, _ in started:
        process.join()
    return found


def run_as(variables: dict[str, str], function, results) -> None:
    try:
        os.environ.update(variables)
        AcceleratorState._reset_state(reset_partial_state=True)  # of the process that forked
        results.put(function(DistributedContext(num_cpu_threads=1)))
    except BaseException as error:
        results.put(repr(error))
    os._exit(0)


def error_of(function) -> tuple:
    with pytest.raises(UserError) as caught:
        function()
    return type(caught.value), str(caught.value), caught.value.barrier is not None


def exchange(context: DistributedContext) -> dict:
    rank = context.rank
    own, average = torch.tensor([[rank, 0], [rank, 1]]), torch.tensor([1.0 + 2 * rank])
    context.average_(average)
    delayed, calls = DelayedAllReduce(context), []

    def fail() -> None:
        raise UserError(f"no such file on {rank}")

    def fail_together() -> None:
        with context.fail_together():
            fail()

    context.wait_for_main(lambda: calls.append("while the others wait"))
    context.run_on_main(lambda: calls.append("at once"))
    found = {
        "rows": context.gather_rows(own).tolist(),
        "slices": context.gather_slices(own).tolist(),
        "means": [context.mean(torch.tensor([1.0 + 2 * rank])).item(), average.item()],
        "broadcast": context.broadcast(f"of {rank}"),
        "objects": context.gather_objects(f"of {rank}"),
        "any": [context.any(rank == 1), context.any(False)],
        "main": context.run_on_main(lambda: f"of {rank}"),
        "all": context.run_on_all(lambda: f"of {rank}"),
        "delayed": [
            *(delayed.all_reduce([rank, count], count) for count in (5, 6)),
            delayed.wait(),
            delayed.wait(),
        ],
        "calls": calls,
        "errors": [
            error_of(lambda: context.run_on_main(fail)),
            error_of(lambda: context.wait_for_main(fail)),
            error_of(lambda: context.run_on_all(fail if rank else int)),
            error_of(lambda: context.run_on_all(fail)),
        ],
        "own error": error_of(fail_together),
    }
    context.shutdown()
    return found


def test_two_processes_exchange_rows_objects_sums_and_errors():
    found = run_in_two_processes(exchange)
    for rank, answers in enumerate(found):
        kind = (UserError, AlreadyReportedError)[rank]  # each machine prints it once
        on_main, on_one = "no such file on 0", f"rank 1 on {os.uname().nodename}: no such file on 1"
        messages = [on_main, on_main, on_one, f"no such file on {rank}"]
        assert answers.pop("errors") == [(kind, message, True) for message in messages]
        assert answers == {
            "rows": [[0, 0], [0, 1], [1, 0], [1, 1]],
            "slices": [[0, 0], [1, 0], [0, 1], [1, 1]],
            "means": [2.0, 2.0],
            "broadcast": "of 0",
            "objects": ["of 0", "of 1"],
            "any": [True, False],
            "main": "of 0",
            "all": f"of {rank}",
            "delayed": [None, ([1, 10], 5), ([1, 12], 6), None],
            "calls": [] if rank else ["while the others wait", "at once"],
            "own error": (UserError, f"no such file on {rank}", True),
        }


def lose_patience(context: DistributedContext) -> float:
    """Return how long rank 0 waits at the exit; then wait for an object that never comes."""
    started = time.monotonic()
    if context.rank:
        time.sleep(0.3)
        context.exit_barrier()
        LOST_PATIENCE.wait(20)
        return 0.0
    context.exit_barrier()
    waited = time.monotonic() - started
    context.set_timeout(0.1)
    with pytest.raises(RuntimeError) as caught:
        context.gather_objects("nobody else comes")
    LOST_PATIENCE.set()
    assert is_lost_connection(caught.value)
    assert time.monotonic() - started < 15
    return waited


def test_ranks_leave_together_and_wait_for_the_others_no_longer_than_said():
    waited, _ = run_in_two_processes(lose_patience)
    assert waited > 0.2


def test_what_a_lost_connection_looks_like():
    """The first is gloo's in a backward pass without network."""
    assert is_lost_connection(RuntimeError("Application timeout caused pair closure"))
    assert is_lost_connection(RuntimeError("[gloo/transport/tcp/pair.cc] Connection reset by peer"))
    assert is_lost_connection(dist.DistStoreError("the store is gone"))
    assert not is_lost_connection(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))


def test_only_a_lost_connection_is_explained():
    explained = pytest.raises(
        RunStoppedError, match=r"another process is gone.* \(gloo: closed\); see"
    )
    with explained, stop_without_peers():
        raise RuntimeError("gloo: closed\nby peer")
    with pytest.raises(RuntimeError, match=r"^out of memory$"), stop_without_peers():
        raise RuntimeError("out of memory")
