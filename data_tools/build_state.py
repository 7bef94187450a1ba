"""What a build has finished so far, so that an interrupted one continues.

A journal beside the shards: the first line holds the build's arguments, each further line the
entry of a shard that was published. A shard counts as finished when its entry is there AND its
bytes match it. The journal goes when the manifest, written last, has taken its place.
"""

import fcntl
import json
from pathlib import Path
from typing import BinaryIO, Self

from pydantic import JsonValue

from data_tools.build_plan import BuildPlan
from t2vgan.errors import UserError
from t2vgan.files import sha256_of
from t2vgan.shards import MANIFEST_NAME, Manifest, ShardEntry, load_manifest

JOURNAL_NAME = ".build_journal.jsonl"


def find_build(plan: BuildPlan, folder: Path) -> Manifest | None:
    """Return the manifest of this very build if the folder has one, whole or damaged.

    Raises UserError when the folder belongs to another build, or holds shards under the plan's
    names that no build recorded.
    """
    if (folder / MANIFEST_NAME).exists():
        manifest = load_manifest(folder)
        found = {
            "scene": manifest.builder,
            "scene_version": manifest.builder_version,
            **manifest.builder_config,
        }
        refuse_other_arguments(folder, found, plan.identity)
        return manifest
    if not (folder / JOURNAL_NAME).exists() and (folder / plan.shard_name(0)).exists():
        raise UserError(
            f"{folder / plan.shard_name(0)} exists, but nothing records who built it; "
            f"choose an empty --out, or remove the shards"
        )
    return None


class Journal:
    """The journal of one build, open and locked: two builds into one folder cannot meet."""

    def __init__(self, folder: Path, identity: dict[str, JsonValue]):
        self._path = folder / JOURNAL_NAME
        self._file = _open_locked(self._path)
        lines = self._whole_lines()
        if lines:
            refuse_other_arguments(folder, json.loads(lines[0]), identity)
        else:
            self._append(identity)
        self.entries = [ShardEntry.model_validate_json(line) for line in lines[1:]]
        for leftover in folder.glob(".tmp-*"):  # of a build that was killed; the lock is ours
            leftover.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def record(self, entry: ShardEntry) -> None:
        """Note that a shard has been published."""
        self._append(entry.model_dump())

    def finish(self) -> None:
        """Remove the journal: the manifest has taken its place."""
        self._path.unlink()

    def close(self) -> None:
        """Let go of the folder."""
        self._file.close()

    def _whole_lines(self) -> list[bytes]:
        """Return the complete lines; cut off a last one that an interruption tore."""
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        self._file.truncate(len(whole))
        return whole.splitlines()

    def _append(self, record: dict[str, JsonValue]) -> None:
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()


def refuse_other_arguments(
    folder: Path, found: dict[str, JsonValue], wanted: dict[str, JsonValue]
) -> None:
    """Raise UserError naming the first argument in which two builds differ, and both values."""
    for name in wanted:
        if found.get(name) != wanted[name]:
            raise UserError(
                f"{folder} holds a build with {name}={found.get(name)}, not {wanted[name]}; "
                f"choose another --out, or give the same {name} to continue that build"
            )


def intact(folder: Path, entry: ShardEntry) -> bool:
    """Return whether a shard is there with the size and checksum of its entry."""
    path = folder / entry.name
    return (
        path.is_file()
        and path.stat().st_size == entry.num_bytes
        and sha256_of(path) == entry.sha256
    )


def _open_locked(path: Path) -> BinaryIO:
    file = open(path, "a+b")  # noqa: SIM115 (held for the whole build)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UserError(f"another build is writing to {path.parent}; wait for it") from None
    return file
