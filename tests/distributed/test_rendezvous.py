"""Processes that connect, and every way in which they do not."""

import multiprocessing
import os
import signal
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
import torch.distributed as dist

from t2vgan.distributed import peers
from t2vgan.distributed.deadline import Deadline
from t2vgan.distributed.launcher_env import LauncherEnv, read_launcher_env
from t2vgan.distributed.peers import PeerInfo, check_devices, compare_peers, leave_together
from t2vgan.distributed.rendezvous import (
    LOOKUP_SECONDS,
    choose_device,
    explain_connection_errors,
    gpu_index,
    init_process_group,
    wait_for_server,
)
from t2vgan.errors import AlreadyReportedError, UserError

pytestmark = pytest.mark.timeout(120)
FORK = multiprocessing.get_context("fork")
SOON = 2.0  # the timeout of processes that must run into it
LATE = 60.0


def connect(variables: dict[str, str], results, all_done) -> None:
    os.environ.update(variables)
    mode, seconds = os.environ.get("MODE", "train"), float(os.environ.get("SECONDS", LATE))
    try:
        results.put(init_process_group(Deadline(seconds), mode))
        all_done.wait()  # rank 0 serves the store: others may still be reading it
    except Exception as error:  # also an unexpected one: the test must not wait for a result
        results.put(type(error)(str(error)))
        if barrier := getattr(error, "barrier", None):
            barrier()
    os._exit(0)  # as train.py: without the teardown of connections


def fork(variables: dict[str, str], seconds: float, all_done) -> tuple:
    """Start a real process with its launcher's variables; return it and a queue for its result."""
    results = FORK.SimpleQueue()
    variables = variables | {"SECONDS": str(seconds)}
    process = FORK.Process(target=connect, args=(variables, results, all_done))
    process.start()
    return process, results


def start(*processes: dict[str, str], seconds: float = LATE) -> list:
    """Start real processes, each with its launcher's variables; return results or errors."""
    all_done = FORK.Event()
    started = [fork(variables, seconds, all_done) for variables in processes]
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
    (error,) = start(variables(1, 2, port), seconds=SOON)
    for text in (f"127.0.0.1:{port}", "rank 0 does not answer rank 1", "Connection refused"):
        assert text in str(error)


def test_an_unknown_address(port):
    (error,) = start(variables(1, 2, port, host="no-such-host.invalid"), seconds=SOON)
    assert f"MASTER_ADDR:MASTER_PORT=no-such-host.invalid:{port}" in str(error)
    assert "within 2 s (--timeout-seconds)" in str(error)


def test_rank_0_waits_for_the_others_no_longer_than_said(port):
    (error,) = start(variables(0, 3, port), seconds=SOON)
    assert f"127.0.0.1:{port}: not all of 3 processes connected within 2 s" in str(error)
    assert "missing: rank 1, 2;" in str(error)


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
    found = {
        rank: PeerInfo(host, device, [0])
        for rank, (host, device) in enumerate([("a", "cuda"), ("b", "cpu"), ("c", "cuda")])
    }
    assert "rank 1 on b has no GPU, but others have one (1 of 3 ranks have none)" in check_devices(
        found
    )
    assert check_devices({rank: peer for rank, peer in found.items() if rank != 1}) == ""
    assert check_devices({1: found[1]}) == ""


def test_the_first_process_that_does_not_match_is_named():
    all_three = {rank: PeerInfo(f"host{rank}", "cpu", [0], "", 3, "train") for rank in (0, 1, 2)}
    assert compare_peers(all_three) == ""
    bad = replace(all_three[2], problem="no GPU")
    assert compare_peers({1: all_three[1], 2: bad}) == "rank 2 on host2: no GPU"
    more, other = replace(all_three[1], world_size=4), replace(all_three[2], mode="evaluate")
    assert compare_peers({1: more, 2: other}) == "", "rank 0 is not known yet"
    assert compare_peers(all_three | {1: more, 2: other}) == (
        "rank 1 on host1 has WORLD_SIZE=4, but rank 0 on host0 has 3; start every machine with the"
        " same number of processes"
    )
    assert compare_peers(all_three | {2: other}) == (
        "rank 2 on host2 was started to evaluate, but rank 0 on host0 to train; start every rank"
        " with the same command"
    )


def test_none_leaves_before_all_have_printed_the_error(monkeypatch):
    store, soon = dist.HashStore(), Deadline(60)
    ranks = [LauncherEnv(rank, 2, rank, "127.0.0.1", 1) for rank in (0, 1)]
    waiting = threading.Thread(target=leave_together, args=(store, ranks[0], soon), daemon=True)
    waiting.start()
    time.sleep(0.2)
    assert waiting.is_alive()
    leave_together(store, ranks[1], soon)
    waiting.join(10)
    assert not waiting.is_alive()
    monkeypatch.setattr(peers, "EXIT_SECONDS", (0.0, 0.1))
    started = time.monotonic()
    leave_together(dist.HashStore(), ranks[0], soon)  # the other one never comes
    assert time.monotonic() - started < 20


def test_gpus_of_which_each_process_sees_its_own_only(monkeypatch, port):
    """As with Slurm's --gpus-per-task; two processes that see the same one are told."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    env = read_launcher_env(variables(1, 2, port))
    assert (choose_device(env), gpu_index(env)) == ("cuda", 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert (choose_device(env), gpu_index(env)) == ("cuda", 1)
    with pytest.raises(UserError, match="LOCAL_RANK=2 has no GPU"):
        choose_device(replace(env, local_rank=2))
    found = {rank: PeerInfo("a", "cuda", [0], gpu=gpu) for rank, gpu in enumerate("xyy")}
    assert "rank 1 and rank 2 on a see the same GPU only" in check_devices(found)
    del found[2]
    assert check_devices(found) == ""


# --- what answers is not rank 0 of this run -----------------------------------------------------


def send_nothing(connection: socket.socket) -> None:
    """Keep a connection open, and silent."""


def close_at_once(connection: socket.socket) -> None:
    connection.close()


def answer_as_web_server(connection: socket.socket) -> None:
    connection.recv(1)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")


def send_bytes_slowly(connection: socket.socket) -> None:
    for _ in range(1000):
        connection.sendall(b"\0")
        time.sleep(0.1)


@contextmanager
def serving(behave):
    """Listen on a port and let `behave` answer each connection."""
    kept = []

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            kept.append(connection)
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def serve(connection: socket.socket) -> None:
        try:
            behave(connection)
        except OSError:
            return

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1]
    for connection in kept:
        connection.close()


@pytest.mark.parametrize(
    "behave", [send_nothing, close_at_once, answer_as_web_server, send_bytes_slowly]
)
def test_something_else_listens_there(behave):
    with serving(behave) as port:
        (error,) = start(variables(1, 2, port), seconds=SOON)
    assert type(error) is UserError
    assert f"127.0.0.1:{port}" in str(error)
    assert "is not rank 0 of this run" in str(error)
    assert "\n" not in str(error)


def test_a_full_queue_of_connections():
    """Nobody accepts: the kernel answers for some, and drops the others."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            (error,) = start(variables(1, 2, port), seconds=SOON)
    assert type(error) is UserError
    assert f"127.0.0.1:{port}" in str(error)


def test_a_stranger_at_rank_0s_port_holds_nobody_up(port):
    def intrude() -> None:
        for _ in range(200):
            try:
                stranger = socket.create_connection(("127.0.0.1", port))
            except OSError:
                time.sleep(0.05)
                continue
            stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
            kept.append(stranger)
            return

    kept: list[socket.socket] = []
    threading.Thread(target=intrude, daemon=True).start()
    found = start(*(variables(rank, 2, port, ACCELERATE_USE_CPU="true") for rank in range(2)))
    assert [device for device, _ in found] == ["cpu", "cpu"]


def test_a_frozen_rank_0_holds_nobody_up(port):
    """It answers a connection, as a stopped process does, and then nothing."""
    results, never = FORK.SimpleQueue(), FORK.Event()
    frozen = FORK.Process(target=connect, args=(variables(0, 2, port), results, never))
    frozen.start()
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:
            time.sleep(0.05)
    os.kill(frozen.pid, signal.SIGSTOP)
    try:
        (error,) = start(variables(1, 2, port), seconds=SOON)
    finally:
        frozen.kill()
        frozen.join()
    assert type(error) is UserError
    assert f"127.0.0.1:{port}" in str(error)


# --- ranks that are started again ---------------------------------------------------------------


@pytest.fixture
def restarts():
    """Start processes one by one, and end them all."""
    all_done, started = FORK.Event(), []

    def restart(*processes: dict[str, str], seconds: float = LATE) -> list:
        started.extend(new := [fork(variables, seconds, all_done) for variables in processes])
        return new

    yield restart
    for process, _ in started:
        process.kill()
        process.join()


def test_a_rank_started_again_waits_for_rank_0_to_end_and_start_again(port, restarts):
    """As a pod that is replaced before the other one has noticed that it is gone."""
    ranks = [variables(rank, 2, port, ACCELERATE_USE_CPU="true") for rank in range(2)]
    first, second = restarts(*ranks)
    assert (first[1].get()[0], second[1].get()[0]) == ("cpu", "cpu")
    second[0].kill()
    ((_, again),) = restarts(ranks[1])
    time.sleep(0.5)  # it meets the first rank 0
    first[0].kill()
    first[0].join()
    ((_, anew),) = restarts(ranks[0])
    assert (anew.get()[0], again.get()[0]) == ("cpu", "cpu")


def test_a_second_process_of_a_rank_is_told_that_the_run_began_without_it(port, restarts):
    ranks = [variables(rank, 2, port, ACCELERATE_USE_CPU="true") for rank in range(2)]
    for _, results in restarts(*ranks):
        assert results.get()[0] == "cpu"
    ((_, results),) = restarts(ranks[1], seconds=SOON / 4)
    error = results.get()
    assert f"127.0.0.1:{port}: rank 0 started with another process of RANK=1" in str(error)
    assert "check that the command was not started twice" in str(error)


def test_restarts_that_torchruns_agents_count_differently(port):
    """Its store keeps the keys of earlier processes; an agent counts only its own failures."""
    store = dist.TCPStore("127.0.0.1", port, is_master=True, wait_for_workers=False)
    agent = {"TORCHELASTIC_USE_AGENT_STORE": "True", "ACCELERATE_USE_CPU": "true"}
    for counts in ("00", "01", "01"):
        ranks = [
            variables(rank, 2, port, **agent, TORCHELASTIC_RESTART_COUNT=count)
            for rank, count in enumerate(counts)
        ]
        assert [device for device, _ in start(*ranks, seconds=10 * SOON)] == ["cpu", "cpu"]
    del store


def test_rank_0s_name_is_looked_up_again(monkeypatch, port):
    """A replaced pod has another address, and the old one may never answer."""
    connect, timeouts = socket.create_connection, []

    def connect_late(address, timeout):
        timeouts.append(timeout)
        if len(timeouts) == 1:
            raise TimeoutError("timed out")
        return connect(address, timeout)

    monkeypatch.setattr(socket, "create_connection", connect_late)
    env = read_launcher_env(variables(1, 2, port))
    with socket.create_server(("127.0.0.1", port)):
        wait_for_server(env, Deadline(300))
    assert timeouts == [LOOKUP_SECONDS] * 2


# --- ranks that were started otherwise ----------------------------------------------------------


@pytest.mark.parametrize(("sizes", "expected"), [((2, 3), "3, but rank 0"), ((3, 2), "2, but")])
def test_world_sizes_that_differ(sizes, expected, port):
    first, second = start(
        *(variables(rank, size, port) for rank, size in enumerate(sizes)), seconds=SOON
    )
    assert str(first) == str(second)
    assert f"rank 1 on {socket.gethostname()} has WORLD_SIZE={expected}" in str(first)
    assert {type(first), type(second)} == {UserError, AlreadyReportedError}


def test_a_rank_that_rank_0_does_not_expect(port):
    last = variables(4, 5, port) | {"LOCAL_RANK": "0"}
    first, fifth = start(variables(0, 3, port), last, seconds=SOON)
    assert "rank 4 on" in str(first)
    assert "has WORLD_SIZE=5" in str(first)
    assert str(first) == str(fifth)


@pytest.mark.parametrize("option", ["--dry-run", "--preflight", "--rollback"])
def test_an_option_on_one_rank_only(option, port):
    odd = variables(1, 2, port, MODE=f"train {option}")
    first, second = start(variables(0, 2, port), odd)
    assert str(first) == str(second)
    assert f"was started to train {option}, but rank 0 on" in str(first)
    assert "to train; start every rank with the same command" in str(first)


def test_two_processes_of_one_rank(port):
    """As when a command is started twice with the same --machine_rank."""
    errors = start(
        variables(0, 3, port), variables(1, 3, port), variables(1, 3, port), seconds=SOON
    )
    assert len(set(map(str, errors))) == 1
    assert "two processes have RANK=1" in str(errors[0])


def test_a_setting_of_one_rank_stops_all(port):
    odd = variables(1, 2, port, ACCELERATE_DYNAMO_BACKEND="INDUCTOR")
    first, second = start(variables(0, 2, port), odd)
    assert str(first) == str(second)
    assert "rank 1 on" in str(first)
    assert "ACCELERATE_DYNAMO_BACKEND=INDUCTOR is not supported" in str(first)


def test_an_interface_that_does_not_exist(port):
    """What gloo raises names the remedy on every process."""
    on_cpu = {"ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": "none7"}
    errors = start(*(variables(rank, 2, port, **on_cpu) for rank in range(2)))
    for rank, error in enumerate(errors):
        assert type(error) is UserError
        assert f"rank {rank} on {socket.gethostname()} cannot connect to the others" in str(error)
        assert "Unable to find address for: none7" in str(error)
        assert "set GLOO_SOCKET_IFNAME (now 'none7') to" in str(error)
        assert "\n" not in str(error)


def test_other_errors_are_not_taken_for_gloos():
    with pytest.raises(RuntimeError, match="out of memory"), explain_connection_errors():
        raise RuntimeError("out of memory")
