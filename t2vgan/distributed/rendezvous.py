"""Start torch's process group, with the checks that torch's own rendezvous lacks.

Every launcher (torchrun, accelerate, launch/slurm, launch/kubernetes) sets RANK, WORLD_SIZE,
LOCAL_RANK, and the MASTER_ADDR:MASTER_PORT where rank 0 listens. What is wrong there ends every
process with one line, at the latest after the timeout.
"""

import json
import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from t2vgan.errors import AlreadyReportedError, UserError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
RETRY_SECONDS = 0.5
GLOO_CONNECT_FACTOR = 5  # gloo waits so many of its timeouts for a connection (transport/tcp)


@dataclass(frozen=True)
class LauncherEnv:
    """The variables that a launcher sets for one of several processes."""

    rank: int
    world_size: int
    local_rank: int
    master_addr: str
    master_port: int

    @property
    def master(self) -> str:
        return f"{self.master_addr}:{self.master_port}"


@dataclass(frozen=True)
class PeerInfo:
    """What each process publishes before the process group starts."""

    host: str
    device: str
    cores: list[int]
    problem: str = ""


def init_process_group(timeout_seconds: float) -> tuple[str, int]:
    """Start torch's process group; return this process's device type and cores.

    The cores are a number: processes that may use the same ones share them.

    Raises:
        UserError: the environment is wrong, a process did not connect in time, or a device is
            missing; on every process that could be reached.
    """
    env = read_launcher_env(os.environ)
    own = describe_self(env)
    if env is None:
        if own.problem:
            raise UserError(own.problem)
        return own.device, len(own.cores)
    store = open_store(env, timeout_seconds)
    peers = exchange_peer_info(store, env, own)
    check_peers(peers, env)
    if own.device == "cuda":
        torch.cuda.set_device(env.local_rank)
    with explain_gloo_errors():
        dist.init_process_group(
            "nccl" if own.device == "cuda" else "gloo",
            store=store,
            rank=env.rank,
            world_size=env.world_size,
            timeout=connect_timeout(timeout_seconds),
        )
    sharing = [peer for peer in peers if (peer.host, peer.cores) == (own.host, own.cores)]
    return own.device, max(1, len(own.cores) // len(sharing))


def read_launcher_env(variables: Mapping[str, str]) -> LauncherEnv | None:
    """Parse the launcher's variables; return None for a single process.

    Raises:
        UserError: a variable is missing or is no such number.
    """
    if variables.get("WORLD_SIZE", "1") == "1":
        return None
    missing = [name for name in VARIABLES if not variables.get(name)]
    if missing:
        raise UserError(
            f"WORLD_SIZE={variables['WORLD_SIZE']} needs {', '.join(missing)} beside it; torchrun,"
            " accelerate launch and the files in launch/ set them all (docs/cluster.md)"
        )
    rank, world_size, local_rank, port = (
        read_number(variables, name) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_PORT")
    )
    if rank >= world_size:
        raise UserError(f"RANK={rank} must be less than WORLD_SIZE={world_size}")
    return LauncherEnv(rank, world_size, local_rank, variables["MASTER_ADDR"], port)


def read_number(variables: Mapping[str, str], name: str) -> int:
    if not variables[name].isdecimal():
        raise UserError(f"{name}={variables[name]} must be a whole number")
    return int(variables[name])


# --- devices --------------------------------------------------------------------------------------


def describe_self(env: LauncherEnv | None) -> PeerInfo:
    """Return this process's host, device and cores, or the problem with them."""
    host, cores = socket.gethostname(), sorted(os.sched_getaffinity(0))
    try:
        return PeerInfo(host, choose_device(env), cores)
    except UserError as error:
        return PeerInfo(host, "", cores, str(error))


def choose_device(env: LauncherEnv | None) -> str:
    """Return "cuda" where there is a GPU for this process, else "cpu".

    Raises:
        UserError: GPUs were asked for by number and there is none, or too few.
    """
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true"):
        return "cpu"
    if not torch.cuda.is_available():
        requested = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        if requested and not requested.startswith("-"):
            raise UserError(
                f"CUDA_VISIBLE_DEVICES={requested} asks for GPUs, and torch {torch.__version__}"
                " finds none; look at nvidia-smi, or use a launch file for the CPU"
                " (launch/accelerate/cpu.yaml)"
            )
        return "cpu"
    if env and env.local_rank >= torch.cuda.device_count():
        raise UserError(
            f"LOCAL_RANK={env.local_rank} has no GPU: this machine has"
            f" {torch.cuda.device_count()}; start one process for each GPU"
        )
    return "cuda"


def check_peers(peers: Sequence[PeerInfo], env: LauncherEnv) -> None:
    """Check problems, and that all or no processes have GPUs."""
    for rank, peer in enumerate(peers):
        if peer.problem:
            raise shared_error(env, f"rank {rank} on {peer.host}: {peer.problem}")
    on_cpu = [rank for rank, peer in enumerate(peers) if peer.device == "cpu"]
    if on_cpu and len(on_cpu) < len(peers):
        raise shared_error(
            env,
            f"rank {on_cpu[0]} on {peers[on_cpu[0]].host} has no GPU and others have one"
            f" ({len(on_cpu)} of {len(peers)} have none); leave those machines out",
        )


def shared_error(env: LauncherEnv, text: str) -> UserError:
    """Return an error that all processes raise and each machine prints once."""
    return UserError(text) if env.local_rank == 0 else AlreadyReportedError(text)


# --- connections ----------------------------------------------------------------------------------


def open_store(env: LauncherEnv, seconds: float) -> Any:
    """Return torch's key-value store, which rank 0 or the launcher serves."""
    if env.rank > 0:
        wait_for_rank0(env, seconds)
    where = f"MASTER_ADDR:MASTER_PORT={env.master}"
    try:
        store, _, _ = next(dist.rendezvous("env://", timeout=timedelta(seconds=seconds)))
    except dist.DistError as error:
        if "EADDRINUSE" in str(error):
            raise UserError(
                f"{where}: the port is in use on {socket.gethostname()}; choose another for all"
                " processes (MASTER_PORT, --main_process_port, --master_port)"
            ) from error
        raise UserError(
            f"{where}: not all of {env.world_size} processes came within {seconds:.0f} s"
            f" (--timeout-seconds): {str(error).splitlines()[0]}"
        ) from error
    store.set_timeout(timedelta(seconds=seconds))
    return store


def wait_for_rank0(env: LauncherEnv, seconds: float) -> None:
    """Wait until rank 0 accepts connections; torch's own waiting logs every retry."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((env.master_addr, env.master_port), timeout=seconds).close()
            return
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"MASTER_ADDR:MASTER_PORT={env.master}: rank 0 does not answer rank {env.rank}"
                    f" on {socket.gethostname()} within {seconds:.0f} s (--timeout-seconds):"
                    f" {error.strerror or error}; is it the address of the machine of rank 0, and"
                    " does rank 0 run?"
                ) from error
        time.sleep(RETRY_SECONDS)


def exchange_peer_info(store: Any, env: LauncherEnv, own: PeerInfo) -> list[PeerInfo]:
    """Gather the info of all ranks through the store."""
    ranks = range(env.world_size)
    try:
        store.set(f"peer/{env.rank}", json.dumps(asdict(own)))
        store.wait([f"peer/{rank}" for rank in ranks])
        texts = store.multi_get([f"peer/{rank}" for rank in ranks])
        store.set(f"has_read/{env.rank}", "")
        if env.rank == 0:  # the store ends with this process: not before all have read
            store.wait([f"has_read/{rank}" for rank in ranks])
    except dist.DistError as error:
        raise UserError(
            f"not all of {env.world_size} processes came to {env.master} in time"
            " (--timeout-seconds); does every machine run its part?"
        ) from error
    return [PeerInfo(**json.loads(text)) for text in texts]


def connect_timeout(seconds: float) -> timedelta:
    """Return the timeout for a gloo group to connect within `seconds`."""
    return timedelta(seconds=seconds / GLOO_CONNECT_FACTOR)


@contextmanager
def explain_gloo_errors() -> Iterator[None]:
    """Turn gloo's failure to connect into a UserError with the remedy.

    Gloo listens at the address of the machine's own name. Where that is a loopback address (as
    Debian installs it), other machines cannot connect.
    """
    try:
        yield
    except RuntimeError as error:
        if "gloo" not in str(error).lower():
            raise
        interface = os.environ.get("GLOO_SOCKET_IFNAME", "")
        raise UserError(
            f"rank {os.environ['RANK']} on {socket.gethostname()} cannot connect to the others"
            f" ({str(error).splitlines()[0]}); set GLOO_SOCKET_IFNAME, now {interface!r}, to this"
            " machine's network interface towards them, such as eth0 (docs/cluster.md)"
        ) from error
