"""Start torch's process group, with the checks that torch's own rendezvous lacks.

Each process publishes information about itself in a key-value store that rank 0 (or torchrun)
serves; rank 0 compares them, and all continue or stop together. Any problem ends every process with
one line, at the latest at a common deadline for everything up to the process group.
"""

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from t2vgan.distributed.deadline import Deadline, call_before
from t2vgan.distributed.launcher_env import (
    LauncherEnv,
    check_accelerate_settings,
    read_launcher_env,
)
from t2vgan.distributed.peers import PeerInfo, exchange_peer_info
from t2vgan.errors import UserError

RETRY_SECONDS = 0.5
LOOKUP_SECONDS = 10.0  # then the name is looked up again: rank 0 may have moved to another address
GLOO_CONNECT_FACTOR = 5  # gloo waits this many timeouts for a connection (transport/tcp)


def init_process_group(deadline: Deadline, mode: str = "") -> tuple[str, int]:
    """Start torch's process group; return the device type and number of cores.

    Cores are divided among the processes of a host that may use the same ones.

    Raises:
        UserError: on every process that could be reached, if the environment is invalid, or a
            process did not connect in time, was started differently, or lacks a device.
    """
    env = read_launcher_env(os.environ)
    own = describe_self(env, mode)
    if env is None:
        if own.problem:
            raise UserError(own.problem)
        return own.device, len(own.cores)
    store, peers = exchange_peer_info(lambda: open_store(env, deadline), env, own, deadline)
    if own.device == "cuda":
        torch.cuda.set_device(gpu_index(env))

    def start() -> None:
        dist.init_process_group(
            "nccl" if own.device == "cuda" else "gloo",
            store=store,
            rank=env.rank,
            world_size=env.world_size,
            timeout=connect_timeout(deadline),
        )

    with explain_connection_errors():
        call_before(deadline, start)
    sharing = [peer for peer in peers if (peer.host, peer.cores) == (own.host, own.cores)]
    return own.device, max(1, len(own.cores) // len(sharing))


# --- devices --------------------------------------------------------------------------------------


def describe_self(env: LauncherEnv | None, mode: str) -> PeerInfo:
    """Return this process's host, device and cores, or the problem with them."""
    device, gpu, problem = "", "", ""
    try:
        check_accelerate_settings(os.environ)
        device = choose_device(env)
        if env and device == "cuda":
            gpu = str(torch.cuda.get_device_properties(gpu_index(env)).uuid)
    except UserError as error:
        problem = str(error)
    cores = sorted(os.sched_getaffinity(0))
    world_size = env.world_size if env else 1
    return PeerInfo(socket.gethostname(), device, cores, problem, world_size, mode, gpu)


def choose_device(env: LauncherEnv | None) -> str:
    """Return "cuda" if there is a GPU for this process, else "cpu".

    Raises:
        UserError: CUDA_VISIBLE_DEVICES names GPUs and there is none, or there are too few.
    """
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true"):
        return "cpu"
    if not torch.cuda.is_available():
        requested = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        if requested and not requested.startswith("-"):
            raise UserError(
                f"CUDA_VISIBLE_DEVICES={requested} asks for GPUs, but torch {torch.__version__}"
                " finds none; check nvidia-smi, or use a launch file for the CPU"
                " (launch/accelerate/cpu.yaml)"
            )
        return "cpu"
    if env and env.local_rank >= torch.cuda.device_count() > 1:
        raise UserError(
            f"LOCAL_RANK={env.local_rank} has no GPU: this machine has only"
            f" {torch.cuda.device_count()}; start one process per GPU"
        )
    return "cuda"


def gpu_index(env: LauncherEnv) -> int:
    """Return the number of this process's GPU.

    A process sees all GPUs of its machine, or only its own (Slurm's --gpus-per-task).
    """
    return env.local_rank % torch.cuda.device_count()


# --- the store ------------------------------------------------------------------------------------


def open_store(env: LauncherEnv, deadline: Deadline) -> Any:
    """Return torch's key-value store, which rank 0 or the launcher serves.

    Raises:
        UserError: nothing answers at its address in time, or something else does.
    """
    serves = env.rank == 0 and not env.has_agent

    def connect() -> Any:
        if not serves:
            wait_for_server(env, deadline)
        return dist.TCPStore(
            env.master_addr,
            env.master_port,
            env.world_size,
            is_master=serves,
            timeout=timedelta(seconds=deadline.left),
            wait_for_workers=False,  # it would never end if WORLD_SIZE differs
            multi_tenant=True,
        )

    try:
        return dist.PrefixStore("t2vgan", call_before(deadline, connect))
    except (RuntimeError, TimeoutError) as error:
        raise UserError(explain_store_error(env, error, deadline)) from error


def explain_store_error(env: LauncherEnv, error: Exception, deadline: Deadline) -> str:
    """Return the error message for a store that cannot be opened."""
    where, host = f"MASTER_ADDR:MASTER_PORT={env.master}", socket.gethostname()
    if "EADDRINUSE" in str(error):
        return (
            f"{where}: the port is in use on {host}; choose another for all processes (MASTER_PORT,"
            " --main_process_port, --master_port)"
        )
    reason = str(error).partition("\n")[0] or "it accepts connections but does not answer"
    return (
        f"{where}: what answers rank {env.rank} on {host} is not rank 0 of this run, or did not"
        f" start within {deadline.seconds:.0f} s (--timeout-seconds): {reason}; check that this is"
        " the address of rank 0's machine and that no other program uses the port there"
    )


def wait_for_server(env: LauncherEnv, deadline: Deadline) -> None:
    """Wait until rank 0 accepts connections, without torch's log of retries."""
    while True:
        try:
            timeout = min(max(RETRY_SECONDS, deadline.left), LOOKUP_SECONDS)
            socket.create_connection((env.master_addr, env.master_port), timeout).close()
            return
        except OSError as error:
            if not deadline.left:
                raise UserError(
                    f"MASTER_ADDR:MASTER_PORT={env.master}: rank 0 does not answer rank {env.rank}"
                    f" on {socket.gethostname()} within {deadline.seconds:.0f} s"
                    f" (--timeout-seconds): {error.strerror or error}; check that this is the"
                    " address of rank 0's machine and that rank 0 runs"
                ) from error
        time.sleep(min(RETRY_SECONDS, deadline.left))


# --- connections ----------------------------------------------------------------------------------


def connect_timeout(deadline: Deadline) -> timedelta:
    """Return the timeout for a gloo group to connect before the deadline."""
    return timedelta(seconds=max(deadline.left, 1.0) / GLOO_CONNECT_FACTOR)


@contextmanager
def explain_connection_errors() -> Iterator[None]:
    """Turn a failure to connect into a UserError with the remedy.

    Gloo listens at the address of the machine's host name. If that is a loopback address (the
    default of Debian), other machines cannot connect.
    """
    try:
        yield
    except (RuntimeError, TimeoutError) as error:
        if isinstance(error, RuntimeError) and "gloo" not in str(error).lower():
            raise
        interface = os.environ.get("GLOO_SOCKET_IFNAME", "")
        reason = str(error).partition("\n")[0] or "no answer in time"
        raise UserError(
            f"rank {os.environ['RANK']} on {socket.gethostname()} cannot connect to the others"
            f" ({reason}); set GLOO_SOCKET_IFNAME (now {interface!r}) to the network interface that"
            " connects this machine with them, such as eth0 (docs/cluster.md)"
        ) from error
