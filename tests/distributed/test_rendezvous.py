"""Processes that find each other, and every way in which they do not: one line, and soon."""

import multiprocessing
import os
import socket
import time
from datetime import timedelta

import pytest

from t2vgan.distributed.rendezvous import (
    LauncherEnv,
    PeerInfo,
    check_members,
    init_process_group,
    read_place,
)
from t2vgan.errors import AlreadyReportedError, UserError

FORK = multiprocessing.get_context("fork")
TIMEOUT = 4.0


def come(variables: dict[str, str], answers, all_said) -> None:
    os.environ.update(variables)
    try:
        answers.put(
            init_process_group(timeout_seconds=TIMEOUT, collective_timeout=timedelta(seconds=30))
        )
        all_said.wait()  # who has met stays: others may still be reading rank 0's store
    except Exception as error:  # also one that nobody expected: it is told, not waited for
        answers.put(error)


def meeting(*processes: dict[str, str]) -> list:
    """Let real processes meet, each with the variables of its launcher; return what they say."""
    all_said = FORK.Event()
    found = []
    for variables in processes:
        answers = FORK.SimpleQueue()
        process = FORK.Process(target=come, args=(variables, answers, all_said))
        process.start()
        found.append((process, answers))
    said = [answers.get() for _, answers in found]
    all_said.set()
    for process, _ in found:
        process.join()
    return said


def variables(rank: int, world_size: int, port: int, host: str = "127.0.0.1", **extra: str):
    return {
        "RANK": str(rank),
        "WORLD_SIZE": str(world_size),
        "LOCAL_RANK": str(rank),
        "MASTER_ADDR": host,
        "MASTER_PORT": str(port),
    } | extra


@pytest.fixture
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def test_processes_on_one_machine_share_its_cores(port):
    said = meeting(*(variables(rank, 2, port, ACCELERATE_USE_CPU="true") for rank in range(2)))
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert said == [("cpu", share), ("cpu", share)]


def test_nobody_answers_where_rank_0_should_be(port):
    start = time.monotonic()
    (error,) = meeting(variables(1, 2, port))
    assert time.monotonic() - start < TIMEOUT + 30
    for text in (f"127.0.0.1:{port}", "rank 0 does not answer rank 1", "Connection refused"):
        assert text in str(error)


def test_an_address_that_is_none(port):
    (error,) = meeting(variables(1, 2, port, host="no-such-host.invalid"))
    assert f"MASTER_ADDR:MASTER_PORT=no-such-host.invalid:{port}" in str(error)
    assert "within 4 s (--timeout-seconds)" in str(error)


def test_rank_0_waits_for_the_others_no_longer_than_said(port):
    (error,) = meeting(variables(0, 3, port))
    assert f"127.0.0.1:{port}: not all of 3 processes came within 4 s" in str(error)


def test_a_port_in_use(port):
    with socket.socket() as other:
        other.bind(("0.0.0.0", port))
        other.listen()
        (error,) = meeting(variables(0, 2, port))
    assert f"127.0.0.1:{port}: the port is in use on {socket.gethostname()}" in str(error)
    assert "--main_process_port" in str(error)


def test_a_gpu_that_one_process_asks_for_and_does_not_have(port):
    """All hear of it; the second process of a machine leaves the printing to the first."""
    asks = variables(1, 2, port, CUDA_VISIBLE_DEVICES="7")
    first, second = meeting(variables(0, 2, port), asks)
    assert type(first) is UserError
    assert type(second) is AlreadyReportedError
    assert str(first) == str(second)
    assert f"rank 1 on {socket.gethostname()}: CUDA_VISIBLE_DEVICES=7 asks for GPUs" in str(first)


def test_gpus_that_only_some_machines_have():
    members = [PeerInfo("a", "cuda", [0]), PeerInfo("b", "cpu", [0]), PeerInfo("c", "cuda", [0])]
    with pytest.raises(UserError, match=r"rank 1 on b has no GPU .* \(1 of 3 have none\)"):
        check_members(members, LauncherEnv(0, 3, 0, "a", 1))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"MASTER_ADDR": ""}, "WORLD_SIZE=2 needs MASTER_ADDR beside it"),
        ({"RANK": "", "MASTER_PORT": ""}, "WORLD_SIZE=2 needs RANK, MASTER_PORT beside it"),
        ({"RANK": "2"}, "RANK=2 must be less than WORLD_SIZE=2"),
        ({"MASTER_PORT": "http"}, "MASTER_PORT=http must be a whole number"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE=two must be a whole number"),
    ],
)
def test_variables_that_do_not_fit(changes, expected):
    with pytest.raises(UserError, match=expected):
        read_place(variables(1, 2, 29500) | changes)


def test_a_process_that_is_alone_needs_no_variables():
    assert read_place({}) is None
    assert read_place({"WORLD_SIZE": "1", "RANK": "0"}) is None
