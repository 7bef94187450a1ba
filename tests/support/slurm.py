"""A real Slurm of a few nodes, each in a network namespace; started and ended by the tests."""

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.commands import ROOT, environment
from tests.support.network import HERE, address, hosts, on

# cred_expire is how long a requeued job waits before it starts again: 120 s where it is not set.
CONFIG = """
ClusterName=test
SlurmctldHost={host}({here})
SlurmUser=root
AuthInfo=socket={folder}/munge/socket,cred_expire=5
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=bf_interval=2,sched_interval=2
{nodes}
PartitionName=main Nodes=ALL Default=YES PriorityTier=1
PartitionName=urgent Nodes=ALL PriorityTier=2 PreemptMode=OFF
"""


@dataclass(frozen=True)
class Slurm:
    """The commands of a running cluster."""

    config: Path
    nodes: list[str]

    def __call__(self, *command: object, **extra: str) -> str:
        """Run one of Slurm's commands in the checkout and return what it prints."""
        result = subprocess.run(
            [str(part) for part in command],
            cwd=ROOT,
            env=environment(SLURM_CONF=str(self.config), GLOO_SOCKET_IFNAME="eth0", **extra),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    def submit(self, *command: object, **extra: str) -> str:
        """Submit a batch file and return the job's number."""
        return self("sbatch", "--parsable", *command, **extra).strip()

    def ask(self, job: str, field: str) -> str:
        """Return a field of `scontrol show job`."""
        found = re.search(rf"\b{field}=(\S+)", self("scontrol", "show", "job", job))
        assert found
        return found[1]

    def wait(self, job: str, *states: str, seconds: float = 300) -> str:
        """Return the state that a job reached."""
        wait_until(lambda: self.ask(job, "JobState") in states, seconds, f"job {job}: {states}")
        return self.ask(job, "JobState")


def wait_until(is_true: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not is_true():
        assert time.monotonic() < deadline, f"after {seconds} s still waiting for {what}"
        time.sleep(0.1)


@contextmanager
def cluster(folder: Path, num_nodes: int) -> Iterator[Slurm]:
    """Start munge, the controller, and a daemon on each node; end them all."""
    munge = folder / "munge"
    munge.mkdir()
    (folder / "state").mkdir()
    (munge / "key").write_bytes(os.urandom(128))
    (munge / "key").chmod(0o600)
    config = folder / "slurm.conf"
    with ExitStack() as stack:
        nodes = stack.enter_context(hosts(num_nodes))
        lines = "\n".join(f"NodeName={node} NodeAddr={address(node)} CPUs=2" for node in nodes)
        host = socket.gethostname()
        config.write_text(CONFIG.format(host=host, here=HERE, folder=folder, nodes=lines))
        files = (f"--{name}-file={munge}/{name}" for name in ("key", "pid", "log", "seed"))
        # munge refuses folders that others could write to, as /tmp is
        start = (stack, folder, config)
        daemon(*start, "munged", "--foreground", "--force", f"--socket={munge}/socket", *files)
        wait_until((munge / "socket").exists, 60, "munge")
        daemon(*start, "slurmctld", "-D")
        for node in nodes:
            daemon(*start, *on(node, "slurmd", "-D", "-N", node))
        slurm = Slurm(config, nodes)
        wait_until(lambda: is_idle(config, num_nodes), 150, "the nodes")
        yield slurm
        slurm("scancel", "--user", "root", "--signal", "KILL", "--full")
        slurm("scancel", "--user", "root")
        wait_until(lambda: not slurm("squeue", "--noheader"), 150, "the last jobs to end")


def daemon(stack: ExitStack, folder: Path, config: Path, *command: object) -> None:
    with open(folder / "daemons.log", "ab") as log:
        process = subprocess.Popen(
            [str(part) for part in command],
            env=environment(SLURM_CONF=str(config)),
            stdout=log,
            stderr=log,
        )
    stack.callback(process.wait, 30)
    stack.callback(process.terminate)


def is_idle(config: Path, num_nodes: int) -> bool:
    found = subprocess.run(
        ["sinfo", "--noheader", "--states", "idle", "--format", "%D"],
        env=environment(SLURM_CONF=str(config)),
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() == str(num_nodes)


def is_installed() -> bool:
    return all(map(shutil.which, ("munged", "slurmctld", "slurmd", "sbatch")))
