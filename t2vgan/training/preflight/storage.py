"""Check the shared folder, the shards and the free space."""

import os
import secrets
import shutil
import time
from contextlib import suppress
from pathlib import Path

from t2vgan.config import Config
from t2vgan.data.manifest import Manifest
from t2vgan.data.mixture import open_data
from t2vgan.distributed.consistency import find_differences, join_first
from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.training.model import build_run_networks
from t2vgan.training.preflight.check_result import FIT, UNFIT, WARNING, CheckResult
from t2vgan.utils.console import count_of, format_error

FOLDER_TIMEOUT_SECONDS = 10.0  # network file systems show other nodes' files late
CHECKSUM_SECONDS = 5.0


def check_folder(context: DistributedContext, config: Config) -> CheckResult:
    """Check that all ranks see one another's files in run_dir."""
    folder = config.run_dir
    token = context.broadcast(secrets.token_hex(8))
    own = folder / f".preflight-{token}-{context.rank}"
    was_there = context.broadcast(os.path.exists(folder))  # False without permission to look
    problem = ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(own, "x") as file:
            file.write(f"{token} of rank {context.rank}")
    except OSError as error:
        problem = format_error(error)
    written = context.gather_objects(problem)  # every rank has written from here on
    others = range(context.world_size) if context.is_main else [0]
    unseen = [rank for rank in others if not written[rank] and not sees(folder, token, rank)]
    blind = context.gather_objects(unseen)
    with suppress(OSError):  # if it cannot be removed, it was not written
        own.unlink(missing_ok=True)
    context.gather_objects(None)  # every rank has removed its file from here on
    if context.is_main and not was_there and folder.exists() and not any(folder.iterdir()):
        folder.rmdir()
    return CheckResult("shared folder", *judge_folder(folder, written, blind))


def judge_folder(folder: Path, written: list[str], blind: list[list[int]]) -> tuple[str, str]:
    for rank, problem in enumerate(written):
        if problem:
            return UNFIT, f"rank {rank} cannot write: {problem}"
    for rank, unseen in enumerate(blind):
        if unseen:
            return UNFIT, (
                f"rank {rank} does not see what rank {unseen[0]} writes into {folder}, which is"
                " another folder there; put run_dir on a shared file system"
            )
    return FIT, f"{folder} is the same on all ranks"


def sees(folder: Path, token: str, rank: int) -> bool:
    """Return whether a rank's file appears with its content in time."""
    deadline = time.monotonic() + FOLDER_TIMEOUT_SECONDS
    while True:
        try:
            if (folder / f".preflight-{token}-{rank}").read_text() == f"{token} of rank {rank}":
                return True
        except OSError:
            pass
        if time.monotonic() > deadline:
            return False
        time.sleep(0.1)


def check_shard_files(context: DistributedContext, config: Config) -> CheckResult:
    """Check the sizes of all shards, and some checksums on each rank."""
    manifest, problem, checked = None, "", 0
    try:
        data = open_data(config.data)
        manifest = data.manifest
        shards = [(part, n) for part in data.parts for n in range(len(part.manifest.shards))]
        deadline = time.monotonic() + CHECKSUM_SECONDS
        for part, number in shards[context.rank % len(shards) :: context.world_size]:
            if time.monotonic() < deadline:
                part.open(number, verify=True).close()
                checked += 1
    except (UserError, OSError) as error:
        problem = format_error(error)
    ranks = context.gather_objects((problem, checked, manifest and manifest.fingerprint))
    for rank, (problem, _, _) in enumerate(ranks):
        if problem:
            return CheckResult("shards", UNFIT, f"rank {rank}: {problem}")
    different = find_differences([{"the data": str(mark)[:12]} for _, _, mark in ranks])
    if different:
        return CheckResult("shards", UNFIT, join_first(different))
    assert manifest is not None
    text = f"{count_of(len(manifest.shards), 'shard')} in {config.data.name} on each rank"
    return CheckResult("shards", FIT, f"{text}, {sum(n for _, n, _ in ranks)} checksums compared")


def check_space(context: DistributedContext, config: Config) -> CheckResult:
    """Compare the free space with the size of a run's checkpoints."""
    try:
        free, needed = context.run_on_main(lambda: measure_space(config))
    except (UserError, OSError) as error:
        return CheckResult("free space", WARNING, f"unknown: {format_error(error)}")
    text = f"{free / 1e9:.1f} GB; checkpoints need {needed / 1e9:.3g} GB"
    return CheckResult("free space", FIT if free > needed else UNFIT, text)


def measure_space(config: Config) -> tuple[int, int]:
    """Return the free bytes and those that checkpoints will need."""
    manifest = open_data(config.data).manifest
    one = checkpoint_bytes(config, manifest)
    run_dir = config.run_dir.resolve()
    folder = next(path for path in (run_dir, *run_dir.parents) if path.exists())
    best_and_new = 2
    return shutil.disk_usage(folder).free, one * (config.keep_checkpoints + best_and_new)


def checkpoint_bytes(config: Config, manifest: Manifest) -> int:
    """Return the size of a checkpoint: networks, average, Adam's moments."""
    generator, discriminator = (
        sum(p.numel() for p in network.parameters())
        for network in build_run_networks(config, manifest)
    )
    return 4 * (4 * generator + 3 * discriminator)
