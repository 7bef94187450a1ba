"""How the processes of a run find each other, and what each of them computes on.

Every launcher (torchrun, accelerate, launch/slurm, launch/kubernetes) says it in the environment:
RANK of WORLD_SIZE, LOCAL_RANK on this machine, and the MASTER_ADDR:MASTER_PORT where rank 0 waits.
What is wrong there ends every process with one line, soon; nobody waits beyond the timeout.
"""

import fcntl
import json
import os
import socket
import struct
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from t2vgan.errors import AlreadyReportedError, UserError

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
KNOCK_EVERY_SECONDS = 0.5
SIOCGIFADDR = 0x8915  # Linux: the address of a network interface


@dataclass(frozen=True)
class LauncherEnv:
    """Which of the processes this one is, and where they meet."""

    rank: int
    world_size: int
    local_rank: int
    host: str
    port: int


@dataclass(frozen=True)
class PeerInfo:
    """What a process says of itself when it comes."""

    host: str
    device: str
    cores: list[int]
    problem: str = ""
    own_address: str = ""  # as rank 0 sees it
    main_address: str = ""  # rank 0's, as this process sees it


def init_process_group(*, timeout_seconds: float, collective_timeout: timedelta) -> tuple[str, int]:
    """Start torch's process group; return this process's device type and its share of the cores.

    Raises:
        UserError: the environment is wrong, somebody did not come in time, or a device is missing;
            on every process that could be reached.
    """
    place = read_place(os.environ)
    own = describe_self(place)
    if place is None:
        if own.problem:
            raise UserError(own.problem)
        return own.device, len(own.cores)
    store, addresses = open_store(place, timeout_seconds)
    own = replace(own, **addresses)  # type: ignore[arg-type]  # its keys are the two addresses
    members = introduce_all(store, place, own)
    check_members(members, place)
    if "GLOO_SOCKET_IFNAME" not in os.environ:
        use_interface_towards_others(own, members)
    backend = "nccl" if own.device == "cuda" else "gloo"
    if own.device == "cuda":
        torch.cuda.set_device(place.local_rank)
    dist.init_process_group(
        backend,
        store=store,
        rank=place.rank,
        world_size=place.world_size,
        timeout=collective_timeout,
    )
    sharing = [m for m in members if (m.host, m.cores) == (own.host, own.cores)]
    return own.device, max(1, len(own.cores) // len(sharing))


def read_place(variables: Mapping[str, str]) -> LauncherEnv | None:
    """Return what the launcher said; None for a process that is alone.

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


def describe_self(place: LauncherEnv | None) -> PeerInfo:
    """Return what this process is, and what is wrong with it, if anything."""
    host, cores = socket.gethostname(), sorted(os.sched_getaffinity(0))
    try:
        return PeerInfo(host, choose_device(place), cores)
    except UserError as error:
        return PeerInfo(host, "", cores, str(error))


def choose_device(place: LauncherEnv | None) -> str:
    """Return "cuda" where there is a GPU for this process, else "cpu".

    Raises:
        UserError: GPUs were asked for by number and there is none, or too few.
    """
    if os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true"):
        return "cpu"
    if not torch.cuda.is_available():
        asked_for = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        if asked_for and not asked_for.startswith("-"):
            raise UserError(
                f"CUDA_VISIBLE_DEVICES={asked_for} asks for GPUs, and torch {torch.__version__}"
                " finds none; look at nvidia-smi, or use a launch file for the CPU"
                " (launch/accelerate/cpu.yaml)"
            )
        return "cpu"
    if place and place.local_rank >= torch.cuda.device_count():
        raise UserError(
            f"LOCAL_RANK={place.local_rank} has no GPU: this machine has"
            f" {torch.cuda.device_count()}; start one process for each GPU"
        )
    return "cuda"


def check_members(members: Sequence[PeerInfo], place: LauncherEnv) -> None:
    """Refuse a meeting in which a member has a problem, or only some have GPUs."""
    for rank, member in enumerate(members):
        if member.problem:
            raise shared_error(place, f"rank {rank} on {member.host}: {member.problem}")
    on_cpu = [rank for rank, member in enumerate(members) if member.device == "cpu"]
    if on_cpu and len(on_cpu) < len(members):
        raise shared_error(
            place,
            f"rank {on_cpu[0]} on {members[on_cpu[0]].host} has no GPU and others have one"
            f" ({len(on_cpu)} of {len(members)} have none); leave those machines out",
        )


def shared_error(place: LauncherEnv, text: str) -> UserError:
    """Return an error that all processes raise, so that each machine prints it once."""
    return UserError(text) if place.local_rank == 0 else AlreadyReportedError(text)


# --- the way there --------------------------------------------------------------------------------


def use_interface_towards_others(own: PeerInfo, members: Sequence[PeerInfo]) -> None:
    """Let gloo speak through the network interface that leads to the other machines.

    By itself it takes the address of this machine's own name, which on many systems is one of the
    loopback interface: then other machines cannot answer.
    """
    far = [member for member in members if member.host != own.host]
    if not far:
        return
    is_with_rank_0 = own.host == members[0].host
    address = far[0].main_address if is_with_rank_0 else own.own_address
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        for _, name in socket.if_nameindex():
            if interface_address(any_socket, name) == address:
                os.environ["GLOO_SOCKET_IFNAME"] = name
                return


def interface_address(any_socket: socket.socket, name: str) -> str | None:
    """Return an interface's IPv4 address; None if it has none."""
    request = struct.pack("256s", name.encode()[:15])
    try:
        return socket.inet_ntoa(fcntl.ioctl(any_socket.fileno(), SIOCGIFADDR, request)[20:24])
    except OSError:
        return None


def open_store(place: LauncherEnv, seconds: float) -> tuple[Any, dict[str, Any]]:
    """Return the store where processes leave words for each other, and the addresses on the way.

    Rank 0 keeps the store, so it need not look for it.
    """
    addresses = wait_for_rank0(place, seconds) if place.rank > 0 else {}
    where = f"MASTER_ADDR:MASTER_PORT={place.host}:{place.port}"
    try:
        store, _, _ = next(dist.rendezvous("env://", timeout=timedelta(seconds=seconds)))
    except dist.DistError as error:
        if "EADDRINUSE" in str(error):
            raise UserError(
                f"{where}: the port is in use on {socket.gethostname()}; choose another for all"
                " processes (MASTER_PORT, --main_process_port, --master_port)"
            ) from error
        raise UserError(
            f"{where}: not all of {place.world_size} processes came within {seconds:.0f} s"
            f" (--timeout-seconds): {str(error).splitlines()[0]}"
        ) from error
    store.set_timeout(timedelta(seconds=seconds))
    return store, addresses


def wait_for_rank0(place: LauncherEnv, seconds: float) -> dict[str, Any]:
    """Wait until somebody answers where rank 0 should be; torch's own waiting is noisy.

    Returns the addresses that this process and rank 0 have for each other.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            with socket.create_connection((place.host, place.port), timeout=seconds) as answer:
                own, main = answer.getsockname()[0], answer.getpeername()[0]
            return {"own_address": own, "main_address": main}
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"MASTER_ADDR:MASTER_PORT={place.host}:{place.port}: rank 0 does not answer"
                    f" rank {place.rank} on {socket.gethostname()} within {seconds:.0f} s"
                    f" (--timeout-seconds): {error.strerror or error}; is it the address of the"
                    " machine of rank 0, and does rank 0 run?"
                ) from error
        time.sleep(KNOCK_EVERY_SECONDS)


def introduce_all(store: Any, place: LauncherEnv, own: PeerInfo) -> list[PeerInfo]:
    """Tell the others what this process is, and return what all are."""
    store.set(f"member/{place.rank}", json.dumps(asdict(own)))
    try:
        if place.rank == 0:
            words = [store.get(f"member/{rank}").decode() for rank in range(place.world_size)]
            store.set("members", json.dumps(words))
        words = json.loads(store.get("members"))
        if place.rank == 0:  # the store goes with this process: not before all have read
            store.wait([f"heard/{rank}" for rank in range(1, place.world_size)])
        else:
            store.set(f"heard/{place.rank}", "")
    except dist.DistError as error:
        raise UserError(
            f"not all of {place.world_size} processes came to {place.host}:{place.port} in time"
            " (--timeout-seconds); does every machine run its part?"
        ) from error
    return [PeerInfo(**json.loads(word)) for word in words]
