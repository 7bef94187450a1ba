"""Compare all processes before the process group starts.

They use a key-value store, so that a process that is missing or does not match can be named.
"""

import json
import secrets
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import torch.distributed as dist

from t2vgan.distributed.deadline import Deadline, call_before
from t2vgan.distributed.launcher_env import LauncherEnv
from t2vgan.errors import AlreadyReportedError, UserError

POLL_SECONDS = 0.05
RECHECK_SECONDS = 2.0  # of waiting for a verdict, before asking whether there is another round
PAUSE_SECONDS = 0.2  # between questions whether the next round has begun
EXIT_SECONDS = 2.0, 20.0  # bounds of the wait until all have printed the same error
MAX_RANKS_SHOWN = 8


@dataclass(frozen=True)
class PeerInfo:
    """Information that each process publishes before the process group starts."""

    host: str
    device: str
    cores: list[int]
    problem: str = ""
    world_size: int = 1
    mode: str = ""
    """The command that the process was started for, such as "train --preflight"."""
    gpu: str = ""
    """The UUID of the process's GPU."""
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    """Distinguishes this process from earlier ones of its rank."""


def exchange_peer_info(
    connect: Callable[[], Any], env: LauncherEnv, own: PeerInfo, deadline: Deadline
) -> tuple[Any, list[PeerInfo]]:
    """Publish this process's info; return the round's store, and all infos.

    `connect` opens the store that rank 0 or the launcher serves. It is called again if rank 0 ends,
    because it may be started again.

    Raises:
        UserError: on every process that connected, if one is missing or does not match the others.
    """
    while True:
        store = connect()
        try:
            round_store, peers, problem = call_before(
                deadline, partial(exchange, store, env, own, deadline)
            )
            break
        except (RuntimeError, TimeoutError) as error:
            if isinstance(error, dist.DistNetworkError) and deadline.left:
                time.sleep(POLL_SECONDS)
                continue
            raise UserError(
                f"not all of {env.world_size} processes connected to {env.master} within"
                f" {deadline.seconds:.0f} s (--timeout-seconds), or rank 0 ended; check that every"
                " machine runs its processes"
            ) from error
    if not problem:
        return round_store, peers
    # Only one process per machine prints the error.
    shared = UserError(problem) if env.local_rank == 0 else AlreadyReportedError(problem)
    shared.barrier = lambda: leave_together(round_store, env, deadline)
    raise shared


def exchange(
    store: Any, env: LauncherEnv, own: PeerInfo, deadline: Deadline
) -> tuple[Any, list[PeerInfo], str]:
    """Return a round's store, all infos, and the problem or "".

    Each process of rank 0 begins a round, with keys of its own: torchrun's store keeps those of the
    processes that it restarted.
    """
    if env.rank:
        return join_round(store, env, own, deadline)
    name = secrets.token_hex(8)
    round_store = dist.PrefixStore(name, store)
    round_store.set("peer/0", json.dumps(asdict(own)))
    store.set("round", name)
    peers, problem = collect_peers(round_store, env, deadline)
    verdict = {"peers": [asdict(peer) for peer in peers], "problem": problem}
    round_store.set("verdict", json.dumps(verdict))
    return round_store, peers, problem


def join_round(
    store: Any, env: LauncherEnv, own: PeerInfo, deadline: Deadline
) -> tuple[Any, list[PeerInfo], str]:
    """Join the round of rank 0; return as `exchange` does.

    A round that ended without this process is that of an earlier rank 0, which may still run. Then
    this waits for the next one.
    """
    joined = problem = objection = ""
    while wait_for_keys(store, ["round"], deadline.left):
        name = store.get("round").decode()
        round_store = dist.PrefixStore(name, store)
        if name != joined and not round_store.check(["verdict"]):
            joined, problem = name, ""
            objection = introduce(round_store, env, own, deadline)
        # A wait, because rank 0 may end right after its verdict. Only torchrun's store outlives it.
        seconds = min(deadline.left, RECHECK_SECONDS) if env.has_agent else deadline.left
        if wait_for_keys(round_store, ["verdict"], seconds):
            verdict = json.loads(round_store.get("verdict"))
            peers = [PeerInfo(**peer) for peer in verdict["peers"]]
            problem = verdict["problem"]
            is_included = any(peer.token == own.token for peer in peers)
            if is_included or ((problem or objection) and not env.has_agent):
                return round_store, peers, problem or objection
            problem = problem or format_excluded(env, deadline)
            time.sleep(min(deadline.left, PAUSE_SECONDS))
        if not deadline.left:
            return round_store, [], problem or format_missing(round_store, env, deadline)
    return store, [], format_missing(store, env, deadline)


def introduce(store: Any, env: LauncherEnv, own: PeerInfo, deadline: Deadline) -> str:
    """Publish this process's info in a round; return its objection or ""."""
    if store.add(f"starts/{env.rank}", 1) > 1 and not env.has_agent:
        objection = (
            f"two processes have RANK={env.rank}, one of them on {own.host}; each needs its own"
        )
    else:
        store.set(f"peer/{env.rank}", json.dumps(asdict(own)))
        objection = compare_peers({0: read_peer(store, 0, deadline), env.rank: own})
    if objection:
        store.set("objection", objection)
    return objection


def collect_peers(store: Any, env: LauncherEnv, deadline: Deadline) -> tuple[list[PeerInfo], str]:
    """Wait for the info of all ranks, or for the first problem."""
    peers: dict[int, PeerInfo] = {}
    while True:
        for rank in set(range(env.world_size)) - peers.keys():
            if store.check([f"peer/{rank}"]):
                peers[rank] = read_peer(store, rank, deadline)
        is_complete = len(peers) == env.world_size
        problem = compare_peers(peers) or (check_devices(peers) if is_complete else "")
        if not problem and store.check(["objection"]):
            problem = store.get("objection").decode()
        if not problem and not deadline.left:
            problem = format_missing(store, env, deadline)
        if problem or is_complete:
            return [peer for _, peer in sorted(peers.items())], problem
        time.sleep(POLL_SECONDS)


def compare_peers(peers: Mapping[int, PeerInfo]) -> str:
    """Return the first problem or difference from rank 0, else ""."""
    first = peers.get(0)
    for rank, peer in sorted(peers.items()):
        name = f"rank {rank} on {peer.host}"
        if peer.problem:
            return f"{name}: {peer.problem}"
        if first and peer.world_size != first.world_size:
            return (
                f"{name} has WORLD_SIZE={peer.world_size}, but rank 0 on {first.host} has"
                f" {first.world_size}; start every machine with the same number of processes"
            )
        if first and peer.mode != first.mode:
            return (
                f"{name} was started to {peer.mode}, but rank 0 on {first.host} to {first.mode};"
                " start every rank with the same command"
            )
    return ""


def check_devices(peers: Mapping[int, PeerInfo]) -> str:
    """Return a problem if processes lack or share GPUs, else ""."""
    on_cpu = [rank for rank, peer in sorted(peers.items()) if peer.device == "cpu"]
    if 0 < len(on_cpu) < len(peers):
        return (
            f"rank {on_cpu[0]} on {peers[on_cpu[0]].host} has no GPU, but others have one"
            f" ({len(on_cpu)} of {len(peers)} ranks have none); leave out the machines without a"
            " GPU"
        )
    owners: dict[str, int] = {}
    for rank, peer in sorted(peers.items()):
        if peer.gpu and owners.setdefault(peer.gpu, rank) != rank:
            return (
                f"rank {owners[peer.gpu]} and rank {rank} on {peer.host} see the same GPU only;"
                " start one process for each GPU"
            )
    return ""


def read_peer(store: Any, rank: int, deadline: Deadline) -> PeerInfo:
    store.wait([f"peer/{rank}"], timedelta(seconds=deadline.left))
    return PeerInfo(**json.loads(store.get(f"peer/{rank}")))


def wait_for_keys(store: Any, keys: Sequence[str], seconds: float) -> bool:
    """Return whether all keys were set in time."""
    try:
        store.wait(list(keys), timedelta(seconds=max(seconds, POLL_SECONDS)))
    except dist.DistError:
        return False
    return True


def format_missing(store: Any, env: LauncherEnv, deadline: Deadline) -> str:
    """Return a line that names the ranks that are missing."""
    missing = [rank for rank in range(env.world_size) if not store.check([f"peer/{rank}"])]
    return (
        f"MASTER_ADDR:MASTER_PORT={env.master}: not all of {env.world_size} processes connected"
        f" within {deadline.seconds:.0f} s (--timeout-seconds); missing: rank"
        f" {format_ranks(missing) or '?'}; check that every machine runs its processes"
    )


def format_excluded(env: LauncherEnv, deadline: Deadline) -> str:
    """Return a line on a rank 0 that began without this process."""
    return (
        f"MASTER_ADDR:MASTER_PORT={env.master}: rank 0 started with another process of"
        f" RANK={env.rank} than this one on {socket.gethostname()} and was not restarted"
        f" within {deadline.seconds:.0f} s (--timeout-seconds); check that the command"
        " was not started twice"
    )


def format_ranks(ranks: Sequence[int]) -> str:
    """List ranks for a message, up to MAX_RANKS_SHOWN."""
    more = " ..." if len(ranks) > MAX_RANKS_SHOWN else ""
    return ", ".join(map(str, ranks[:MAX_RANKS_SHOWN])) + more


def leave_together(store: Any, env: LauncherEnv, deadline: Deadline) -> None:
    """Wait until all processes have printed their error.

    Launchers kill the other processes when one exits, and the store ends with rank 0.
    """
    least, most = EXIT_SECONDS
    patience = Deadline(min(max(deadline.left, least), most))
    keys = [f"reported/{rank}" for rank in range(env.world_size)]

    def wait() -> None:
        store.set(f"reported/{env.rank}", "")
        wait_for_keys(store, keys, patience.left)

    with suppress(RuntimeError, TimeoutError):
        call_before(patience, wait)
