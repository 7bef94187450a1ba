"""Processes that connect, and every way in which they do not."""

import multiprocessing
import os
import socket
import time

import pytest

from t2vgan.distributed.rendezvous import (
    LauncherEnv,
    PeerInfo,
    check_peers,
    explain_gloo_errors,
    init_process_group,
    read_launcher_env,
)
from t2vgan.errors import AlreadyReportedError, UserError

FORK = multiprocessing.get_context("fork")
TIMEOUT = 4.0


def connect(variables: dict[str, str], results, all_done) -> None:
    os.environ.update(variables)
    try:
        results.put(init_process_group(TIMEOUT))
        all_done.wait()  # rank 0 serves the store: others may still be reading it
    except Exception as error:  # also an unexpected one: the test must not wait for a result
        results.put(error)


def start(*processes: dict[str, str]) -> list:
    """Start real processes, each with its launcher's variables; return results or errors."""
    all_done = FORK.Event()
    started = []
    for variables in processes:
        results = FORK.SimpleQueue()
        process = FORK.Process(target=connect, args=(variables, results, all_done))
        process.start()
        started.append((process, results))
    found = [results.get() for _, results in started]
    all_done.set()
    for process, _ in started:
        process.join()
    return found


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
    found = start(*(variables(rank, 2, port, ACCELERATE_USE_CPU="true") for rank in range(2)))
    share = max(1, len(os.sched_getaffinity(0)) // 2)
    assert found == [("cpu", share), ("cpu", share)]


def test_rank_0_does_not_answer(port):
    begin = time.monotonic()
    (error,) = start(variables(1, 2, port))
    assert time.monotonic() - begin < TIMEOUT + 30
    for text in (f"127.0.0.1:{port}", "rank 0 does not answer rank 1", "Connection refused"):
        assert text in str(error)


def test_an_unknown_address(port):
    (error,) = start(variables(1, 2, port, host="no-such-host.invalid"))
    assert f"MASTER_ADDR:MASTER_PORT=no-such-host.invalid:{port}" in str(error)
    assert "within 4 s (--timeout-seconds)" in str(error)


def test_rank_0_waits_for_the_others_no_longer_than_said(port):
    (error,) = start(variables(0, 3, port))
    assert f"127.0.0.1:{port}: not all of 3 processes came within 4 s" in str(error)


def test_a_port_in_use(port):
    with socket.socket() as other:
        other.bind(("0.0.0.0", port))
        other.listen()
        (error,) = start(variables(0, 2, port))
    assert f"127.0.0.1:{port}: the port is in use on {socket.gethostname()}" in str(error)
    assert "--main_process_port" in str(error)


def test_a_gpu_that_one_process_asks_for_and_does_not_have(port):
    """All raise it; each machine's first process prints it."""
    on_gpu = variables(1, 2, port, CUDA_VISIBLE_DEVICES="7")
    first, second = start(variables(0, 2, port), on_gpu)
    assert type(first) is UserError
    assert type(second) is AlreadyReportedError
    assert str(first) == str(second)
    assert f"rank 1 on {socket.gethostname()}: CUDA_VISIBLE_DEVICES=7 asks for GPUs" in str(first)


def test_gpus_that_only_some_machines_have():
    peers = [PeerInfo("a", "cuda", [0]), PeerInfo("b", "cpu", [0]), PeerInfo("c", "cuda", [0])]
    with pytest.raises(UserError, match=r"rank 1 on b has no GPU .* \(1 of 3 have none\)"):
        check_peers(peers, LauncherEnv(0, 3, 0, "a", 1))


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
        read_launcher_env(variables(1, 2, 29500) | changes)


def test_a_single_process_needs_no_variables():
    assert read_launcher_env({}) is None
    assert read_launcher_env({"WORLD_SIZE": "1", "RANK": "0"}) is None


def test_an_interface_that_does_not_exist(port):
    """What gloo raises names the remedy on every process."""
    on_cpu = {"ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": "none7"}
    errors = start(*(variables(rank, 2, port, **on_cpu) for rank in range(2)))
    for rank, error in enumerate(errors):
        assert type(error) is UserError
        assert f"rank {rank} on {socket.gethostname()} cannot connect to the others" in str(error)
        assert "Unable to find address for: none7" in str(error)
        assert "set GLOO_SOCKET_IFNAME, now 'none7', to" in str(error)
        assert "\n" not in str(error)


def test_other_errors_are_not_taken_for_gloos():
    with pytest.raises(RuntimeError, match="out of memory"), explain_gloo_errors():
        raise RuntimeError("out of memory")
