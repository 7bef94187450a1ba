"""Publish, find, verify and remove checkpoint folders atomically.

    run_dir/checkpoints/
        step_00001000/        complete since it has this name; MANIFEST.json holds its checksums
        damaged-step_.../     found to be damaged, and set aside
        unwanted-step_.../    good, but set aside by --rollback, which resumes before it
        replaced-step_.../    being replaced; gets its name back if a kill prevents that
        .tmp-.../             being written or removed; left over after a kill

Contents are defined in state_dict.py; this module knows only bytes and names.
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, count
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, JsonValue, StringConstraints, ValidationError

from t2vgan.errors import UserError
from t2vgan.utils.files import (
    TEMPORARY_PREFIX,
    create_temporary_folder,
    file_mode,
    fsync_path,
    sha256_of,
)
from t2vgan.utils.untrusted import JsonError, read_json

FORMAT = "t2vgan-checkpoint"
FORMAT_VERSION = 1
MANIFEST_NAME = "MANIFEST.json"
STATE_NAME = "state.json"
REPLACED_PREFIX = "replaced-"
LEAST_KEPT = 2  # because the newest may be damaged
FREE_SPACE_MARGIN = 1 << 20  # bytes, for headers, the manifest and folder entries

logger = logging.getLogger(__name__)


class DamagedError(Exception):
    """A checkpoint is damaged; the message says where."""


class FileEntry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    num_bytes: int
    sha256: str


class CheckpointManifest(BaseModel):
    """The fields of MANIFEST.json; `sha256` covers the others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: str
    format_version: int
    name: str
    files: dict[
        Annotated[str, StringConstraints(pattern=r"^\w[\w.-]*$", max_length=200)], FileEntry
    ]
    sha256: str


# --- names -------------------------------------------------------------------------------------


def checkpoints_folder(run_dir: Path | str) -> Path:
    return Path(run_dir) / "checkpoints"


def step_folder(run_dir: Path | str, step: int) -> Path:
    return checkpoints_folder(run_dir) / f"step_{step:08d}"


def list_steps(run_dir: Path | str) -> list[int]:
    """List the steps of published checkpoints in order, without verifying them."""
    folders = list_folders(run_dir)
    return [step for step, path in folders if path == step_folder(run_dir, step) and path.is_dir()]


def list_folders(run_dir: Path | str) -> list[tuple[int, Path]]:
    """List (step, path) of everything named like a checkpoint, in order.

    It may be a file, a broken link, or `step_7` without the zeros.
    """
    paths = checkpoints_folder(run_dir).glob("step_*")
    matches = ((re.fullmatch(r"step_([0-9]+)", path.name), path) for path in paths)
    return sorted((int(match[1]), path) for match, path in matches if match)


# --- write -------------------------------------------------------------------------------------


@contextmanager
def publish_folder(folder: Path, num_bytes: int) -> Iterator[Path]:
    """Yield a temporary folder; on success publish it with a manifest.

    An existing folder of that name is replaced at the end, after being renamed for a moment. On any
    failure the temporary folder is removed.

    Raises:
        OSError: the disk has less than `num_bytes` free; nothing is written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    check_free_space(folder, num_bytes)
    temporary = create_temporary_folder(folder.parent)
    try:
        yield temporary
        write_manifest(temporary, folder.name)
        for path in temporary.iterdir():
            path.chmod(file_mode(temporary))  # safetensors sets another mode
            fsync_path(path)
        fsync_path(temporary)
        if os.path.lexists(folder):
            folder.rename(folder.with_name(f"{REPLACED_PREFIX}{folder.name}"))
        temporary.rename(folder)
        fsync_path(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        settle_replaced(folder.parent)


def check_free_space(folder: Path, num_bytes: int) -> None:
    needed = num_bytes + FREE_SPACE_MARGIN
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        reason = (
            f"no space left for this checkpoint: it needs {needed / 1e6:.1f} MB and "
            f"{free / 1e6:.1f} MB are free; older checkpoints are untouched"
        )
        raise OSError(errno.ENOSPC, reason, str(folder))


def write_manifest(folder: Path, name: str) -> None:
    """Write MANIFEST.json with the sizes and checksums of a folder's files."""
    fields: dict[str, JsonValue] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": name,
        "files": {
            path.name: {"num_bytes": path.stat().st_size, "sha256": sha256_of(path)}
            for path in sorted(folder.iterdir())
        },
    }
    fields["sha256"] = compute_checksum(fields)
    (folder / MANIFEST_NAME).write_text(json.dumps(fields, indent=1))


def remove_old(run_dir: Path | str, *, keep: int, protect: Collection[int]) -> None:
    """Remove all checkpoints but the newest `keep` and the protected steps.

    At least two are kept.
    """
    old_steps = list_steps(run_dir)[: -max(keep, LEAST_KEPT)]
    for step in old_steps:
        if step not in protect:
            remove(step_folder(run_dir, step))


def remove(folder: Path) -> None:
    """Rename a checkpoint and remove it.

    It is renamed first, so that a kill leaves no partial checkpoint under its name. If it is a
    link, only the link is removed.
    """
    if not folder.is_dir() or folder.is_symlink():
        folder.unlink()
        return
    removed = folder.rename(create_temporary_folder(folder.parent))
    shutil.rmtree(removed, ignore_errors=True)


def remove_temporary(run_dir: Path | str) -> None:
    """Remove leftovers of a killed save or removal."""
    for leftover in checkpoints_folder(run_dir).glob(f"{TEMPORARY_PREFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    settle_replaced(checkpoints_folder(run_dir))


def settle_replaced(parent: Path) -> None:
    """Remove replaced checkpoints, or restore them if the new one is missing."""
    for old in parent.glob(f"{REPLACED_PREFIX}*"):
        folder = old.with_name(old.name.removeprefix(REPLACED_PREFIX))
        if os.path.lexists(folder):
            remove(old)
        else:
            old.rename(folder)


# --- read --------------------------------------------------------------------------------------


def verify(folder: Path) -> None:
    """Compare every byte of a checkpoint with its manifest.

    Raises:
        DamagedError: a file differs or is missing, or the state is not JSON.
        UserError: the checkpoint has another format version.
    """
    try:
        manifest = read_manifest(folder)
        for name, entry in manifest.files.items():
            path = folder / name
            if not path.is_file():
                raise DamagedError(f"{name} is missing")
            num_bytes = path.stat().st_size
            if num_bytes != entry.num_bytes:
                raise DamagedError(f"{name} has {num_bytes} bytes instead of {entry.num_bytes}")
            if sha256_of(path) != entry.sha256:
                raise DamagedError(f"{name} does not match its checksum")
        read_state(folder)
    except FileNotFoundError as error:  # the state, or a file that a running job removed meanwhile
        raise DamagedError(f"{error.filename} is missing") from None


def read_manifest(folder: Path) -> CheckpointManifest:
    path = folder / MANIFEST_NAME
    if not path.is_file():
        raise DamagedError(f"{MANIFEST_NAME} is missing")
    try:
        fields = read_json(path)
        sealed = fields["sha256"] == compute_checksum(fields) and fields["name"] == folder.name
    except (JsonError, KeyError, TypeError, AttributeError):
        sealed = False
    if not sealed:
        raise DamagedError(f"{MANIFEST_NAME} does not match its checksum or folder name")
    if fields.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{folder}: checkpoint format version {fields.get('format_version')}, but this t2vgan "
            f"reads {FORMAT_VERSION}; use the t2vgan that wrote it, or another run_dir"
        )
    try:
        return CheckpointManifest.model_validate(fields)
    except ValidationError as error:
        raise DamagedError(f"{MANIFEST_NAME}: {error.errors()[0]['msg']}") from None


def read_state(folder: Path) -> dict[str, JsonValue]:
    """Read a checkpoint's state besides tensors.

    Raises:
        DamagedError: the file is not a JSON object.
        OSError: the file is missing or cannot be read.
    """
    try:
        state = read_json(folder / STATE_NAME)
    except JsonError as error:
        raise DamagedError(str(error)) from None
    if not isinstance(state, dict):
        raise DamagedError(f"{STATE_NAME} is not a JSON object")
    return state


def read_latest_state(run_dir: Path) -> dict[str, JsonValue]:
    """Read the state of the newest readable checkpoint; empty without one."""
    for step in reversed(list_steps(run_dir)):
        with suppress(OSError, DamagedError):
            return read_state(step_folder(run_dir, step))
    return {}


def compute_checksum(fields: dict[str, JsonValue]) -> str:
    """Compute the SHA-256 of a manifest's fields without its own checksum."""
    covered = {key: value for key, value in fields.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(covered, sort_keys=True).encode()).hexdigest()


def verify_or_set_aside(folder: Path) -> bool:
    """Return whether a checkpoint is good; set a damaged one aside."""
    if not os.path.lexists(folder):
        return False
    try:
        verify(folder)
    except DamagedError as damage:
        aside = set_aside(folder, "damaged")
        logger.warning("checkpoint %s is damaged: %s; set aside as %s", folder, damage, aside.name)
        return False
    return True


def set_aside(folder: Path, reason: str) -> Path:
    """Rename a checkpoint out of the way; return the new name."""
    aside = find_free_name(folder.with_name(f"{reason}-{folder.name}"))
    folder.rename(aside)
    return aside


def find_free_name(path: Path) -> Path:
    """Return the first of `path`, `path-2`, ... that does not exist."""
    numbered = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return next(name for name in chain([path], numbered) if not os.path.lexists(name))
