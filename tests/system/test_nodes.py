"""Several machines for real: network namespaces with addresses and names of their own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.same_run import distance, load_networks, newest_checkpoint, records
from tests.support.commands import BIN, ROOT, environment, faulty, train
from tests.support.network import hosts, kill_all, on, sh
from tests.support.warm import run_warm_ok

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 and "CI" not in os.environ, reason="network namespaces need root"
)
INTERFACE = {"GLOO_SOCKET_IFNAME": "eth0"}  # as docs/cluster.md says for such hosts
LONG = ("--train.num-steps", 100_000, "--save-every-steps", 20, "--timeout-seconds", 20)


@contextmanager
def started(
    commands: dict[str, tuple], log: Path, **variables: str
) -> Iterator[dict[str, subprocess.Popen]]:
    """Start a command on each node, all writing to one file; end what still runs."""
    with open(log, "a") as file:
        processes = {
            node: subprocess.Popen(
                [str(part) for part in on(node, *command)],
                cwd=ROOT,
                env=environment(
                    **(INTERFACE | {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "2"} | variables)
                ),
                stdout=file,
                stderr=file,
            )
            for node, command in commands.items()
        }
    try:
        yield processes
    finally:
        for node, process in processes.items():
            kill_all(node)
            process.wait(30)


def run_on(commands: dict[str, tuple], log: Path) -> None:
    """Run a command on each node, to the end of all."""
    with started(commands, log) as processes:
        codes = [process.wait(300) for process in processes.values()]
    assert not any(codes), log.read_text()


def wait_for(log: Path, text: str, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while text not in log.read_text():
        assert time.monotonic() < deadline, f"no {text!r} within {seconds} s: {log.read_text()}"
        time.sleep(0.1)


def accelerate(rank: int, nodes: list[str]) -> tuple:
    """launch/accelerate/multi_node.yaml as its comments say, with one CPU process a machine."""
    return (
        BIN / "accelerate", "launch", "--config_file", "launch/accelerate/multi_node.yaml",
        "--num_machines", len(nodes), "--num_processes", len(nodes), "--gpu_ids", "all",
        "--machine_rank", rank, "--main_process_ip", nodes[0],
    )  # fmt: skip


def torchrun(rank: int, nodes: list[str]) -> tuple:
    return (
        BIN / "torchrun", "--nnodes", len(nodes), "--nproc_per_node", 1, "--node_rank", rank,
        "--master_addr", nodes[0], "--master_port", 29500,
    )  # fmt: skip


@pytest.mark.parametrize(("launcher", "num_nodes"), [(accelerate, 2), (torchrun, 4)])
def test_nodes_train_the_model_of_one_process(
    launcher, num_nodes, finished_run_in_float64, circles, tmp_path
):
    run_dir, log = tmp_path / "run", tmp_path / "log"
    with hosts(num_nodes) as nodes:
        command = faulty("float64", circles, run_dir)
        run_on({n: (*launcher(rank, nodes), *command) for rank, n in enumerate(nodes)}, log)
    assert f'"world_size": {num_nodes}' in (run_dir / "run.json").read_text()
    runs = (run_dir, finished_run_in_float64)
    assert distance(*(load_networks(newest_checkpoint(path)) for path in runs)) < 1e-9


def test_a_node_without_power_is_named_and_fewer_nodes_go_on(circles, tmp_path):
    """Its cable is cut before its processes die: nothing tells the other that they did."""
    run_dir, log = tmp_path / "run", tmp_path / "log"
    with hosts(2) as nodes:
        command = train(circles, run_dir, *LONG)
        commands = {n: (*torchrun(rank, nodes), *command) for rank, n in enumerate(nodes)}
        with started(commands, log) as processes:
            wait_for(log, "step 30/")
            sh("ip", "link", "set", "node2-cable", "down")
            kill_all("node2")
            start = time.monotonic()
            assert processes["node1"].wait(300) != 0
            assert time.monotonic() - start < 150, "20 s of patience, 7 s of listening, the way out"
        (line,) = [line for line in log.read_text().splitlines() if line.startswith("stopped: ")]
        assert "another process is gone or too slow; missing or slow: rank 1" in line
        assert "rank 1 (node2, pid" in line
    step = int(newest_checkpoint(run_dir).name.removeprefix("step_"))
    result = run_warm_ok(*train(circles, run_dir, *LONG, "--train.num-steps", step + 2))
    assert f"resumed at step {step}" in result.stderr


def test_an_elastic_run_goes_on_by_itself_with_fewer_nodes(circles, tmp_path):
    run_dir, log = tmp_path / "run", tmp_path / "log"
    elastic = (
        BIN / "torchrun", "--nnodes", "1:2", "--nproc_per_node", 1, "--max_restarts", 3,
        "--rdzv_backend", "c10d", "--rdzv_endpoint", "node1:29500", "--rdzv_id", "run",
        "--rdzv_conf", "join_timeout=60,last_call_timeout=3,keep_alive_interval=1",
    )  # fmt: skip
    with hosts(2) as nodes:
        command = (*elastic, "--local_addr")
        commands = {n: (*command, n, *train(circles, run_dir, *LONG)) for n in nodes}
        with started(commands, log):
            wait_for(log, "step 30/")
            assert '"world_size": 2' in (run_dir / "run.json").read_text()
            kill_all("node2")
            wait_for(log, "resumed at step")
            assert '"world_size": 1' in (run_dir / "run.json").read_text()
    events = [event["message"] for event in records(run_dir, "event")]
    assert any(message.startswith("resumed at step") for message in events)


def test_a_node_without_the_shared_folder_is_named(circles, tmp_path):
    """The second node sees an empty disk where the first one has its run_dir."""
    shared, log = tmp_path / "shared", tmp_path / "log"
    shared.mkdir()
    command = (sys.executable, *train(circles, shared / "run"))
    own_disk = ("sh", "-c", f'mount -t tmpfs tmpfs {shared} && exec "$@"', "sh")
    with hosts(2) as nodes:
        commands = {
            "node1": (*place(0, nodes), *command),
            "node2": (*place(1, nodes), *own_disk, *command),
        }
        with started(commands, log) as processes:
            assert [process.wait(300) for process in processes.values()] == [2, 2]
    errors = [line for line in log.read_text().splitlines() if line.startswith("error: ")]
    assert len(errors) == 2, "one line on each machine"
    assert len(set(errors)) == 1
    assert "rank 1 on node2: run_dir=" in errors[0]
    assert "every machine sees the same files" in errors[0]


def test_hosts_whose_names_are_loopback_addresses_need_the_interface(circles, tmp_path):
    """Without it, gloo cannot connect: one line on each machine names the remedy."""
    log = tmp_path / "log"
    command = (sys.executable, *train(circles, tmp_path / "run", "--timeout-seconds", 10))
    with hosts(2) as nodes:
        commands = {node: (*place(rank, nodes), *command) for rank, node in enumerate(nodes)}
        with started(commands, log, GLOO_SOCKET_IFNAME="") as processes:
            assert [process.wait(100) for process in processes.values()] == [2, 2]
    errors = [line for line in log.read_text().splitlines() if line.startswith("error: ")]
    assert len(errors) == 2, "one line on each machine"
    for error in errors:
        assert "cannot connect to the others" in error
        assert "set GLOO_SOCKET_IFNAME" in error
    assert "Traceback" not in log.read_text()


def place(rank: int, nodes: list[str]) -> tuple:
    """Say to a process what a launcher would."""
    return (
        "env", f"RANK={rank}", f"WORLD_SIZE={len(nodes)}", "LOCAL_RANK=0",
        f"MASTER_ADDR={nodes[0]}", "MASTER_PORT=29500",
    )  # fmt: skip
