"""Record finished shards, so that an interrupted build continues.

A journal is a file beside the shards: its first line is the build's header, each further line the
result of one shard. A shard counts as finished if it has a line AND its bytes match its entry. The
manifest is written last; it and failures.jsonl then hold what the journals held, and these are
removed.
"""

import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Self

from pydantic import ValidationError

from t2vgan.data.manifest import Manifest
from t2vgan.errors import UserError
from t2vgan.utils.files import (
    atomic_write_bytes,
    naming_file,
    open_plain,
    remove_temporary_files,
)
from t2vgan.utils.untrusted import read_bytes

from .protocol import WHOLE, BuildHeader, BuiltShard, Failure, Task, identity_of

JOURNAL_PREFIX = ".build_journal"
JOURNAL_NAME = f"{JOURNAL_PREFIX}.jsonl"
JOURNAL_PATTERN = f"{JOURNAL_PREFIX}*.jsonl"
FAILURES_NAME = "failures.jsonl"
INPUT_LIST = "input_list_sha256"
MAX_JOURNAL_BYTES = 1 << 30  # a million shards, or ten million failures
OTHER = "choose another --out"


class Journal:
    """The journal of one build, opened and locked.

    A lock keeps a second build out of the folder. Each task of a divided build has its own journal,
    so tasks may run at the same time; an undivided build excludes all others.
    """

    def __init__(
        self, folder: Path, header: BuildHeader, task: Task = WHOLE, *, where: object = None
    ):
        """Open and lock the journal; `where` names the folder in messages."""
        self.path = folder / journal_name(task)
        self._file = _open_locked(self.path)
        try:
            for other in folder.glob(JOURNAL_PATTERN):  # checked after locking our own
                if other != self.path and JOURNAL_NAME in (self.path.name, other.name):
                    _open_locked(other).close()
            self.built = self._continue(header, where or folder)
        except BaseException:
            self.close()
            raise
        if task.count == 1:  # left by a killed build; this process holds the lock
            remove_temporary_files(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def record(self, built: BuiltShard) -> None:
        """Record the result of a shard, once it is published."""
        self._append(built.model_dump_json())

    def close(self) -> None:
        """Close the journal and release the lock."""
        self._file.close()

    def _continue(self, header: BuildHeader, where: object) -> dict[int, BuiltShard]:
        """Return the recorded shards of this build; start a journal if empty.

        An incomplete last line is cut off after the header has been checked.
        """
        self._file.seek(0)
        content = self._file.read()
        whole = content[: content.rfind(b"\n") + 1]
        first, *lines = whole.splitlines() or [content]
        text = header.model_dump_json()
        if whole or not text.encode().startswith(first):  # else the header may be incomplete
            check_same_arguments(where, parse_header(first, self.path), header)
        self._file.truncate(len(whole))
        if not whole:
            self._append(text)
        return parse_built(lines)

    def _append(self, line: str) -> None:
        with naming_file(self.path):
            self._file.write(line.encode() + b"\n")
            self._file.flush()


def journal_name(task: Task) -> str:
    """Return the file name of a task's journal."""
    if task.count == 1:
        return JOURNAL_NAME
    return f"{JOURNAL_PREFIX}-{task.index}-of-{task.count}.jsonl"


def write_journal(
    folder: Path, task: Task, header: BuildHeader, built: dict[int, BuiltShard]
) -> None:
    """Write a task's journal with the results of finished shards."""
    lines = (header.model_dump_json(), *(shard.model_dump_json() for shard in built.values()))
    atomic_write_bytes(folder / journal_name(task), "".join(f"{x}\n" for x in lines).encode())


def read_journals(folder: Path) -> tuple[BuildHeader, dict[int, BuiltShard]]:
    """Merge the journals in a folder.

    Raises:
        UserError: there are none, or they belong to different builds.
    """
    header = None
    built: dict[int, BuiltShard] = {}
    for path in sorted(folder.glob(JOURNAL_PATTERN)):
        first, *lines = read_bytes(path, MAX_JOURNAL_BYTES).splitlines() or [b""]
        found = parse_header(first, path)
        if header is not None:
            check_same_arguments(folder, found, header)
        header = found
        built |= parse_built(lines)
    if header is None:
        raise UserError(
            f"{folder} holds no journal of an unfinished build, so there is nothing to merge"
        )
    return header, built


def parse_header(line: bytes, path: Path | str) -> BuildHeader:
    """Parse the header of the build from a journal's first line."""
    try:
        return BuildHeader.model_validate_json(line)
    except ValidationError:
        raise UserError(
            f"{path} was written by another version of t2vgan; remove it to rebuild its shards"
        ) from None


def parse_built(lines: Iterable[bytes]) -> dict[int, BuiltShard]:
    """Parse a journal's results; a shard's last line counts."""
    built = {}
    for line in lines:
        try:
            shard = BuiltShard.model_validate_json(line)
        except ValidationError:  # an incomplete line: that shard is made again
            continue
        built[shard.index] = shard
    return built


def read_failures(folder: Path, where: object = None) -> list[Failure]:
    """Read failures.jsonl in order; `where` names the folder in messages."""
    path = folder / FAILURES_NAME
    if not path.exists():
        return []
    try:
        return [
            Failure.model_validate_json(line)
            for line in read_bytes(path, MAX_JOURNAL_BYTES).splitlines()
        ]
    except ValidationError as error:
        raise UserError(
            f"{where or folder}/{FAILURES_NAME} is damaged ({error.errors()[0]['msg']}); remove it"
        ) from None


def write_failures(folder: Path, built: Iterable[BuiltShard]) -> None:
    """Write failures.jsonl atomically."""
    failures = [f for shard in sorted(built, key=lambda s: s.index) for f in shard.failures]
    text = "".join(f"{json.dumps(f.model_dump(), ensure_ascii=False)}\n" for f in failures)
    atomic_write_bytes(folder / FAILURES_NAME, text.encode())


def check_same_arguments(
    where: object, found_build: BuildHeader | Manifest, wanted_build: BuildHeader
) -> None:
    """Raise UserError for the first argument that differs between two builds."""
    found, wanted = identity_of(found_build), identity_of(wanted_build)
    for name in wanted:
        if found.get(name) == wanted[name]:
            continue
        if name == INPUT_LIST:
            raise UserError(
                f"{where} holds a build of another input (a row or a caption differs); {OTHER}"
            )
        remedy = "" if name == "builder" else f", or give the same {name} to continue that build"
        raise UserError(
            f"{where} holds a build with {name}={found.get(name)}, not {wanted[name]};"
            f" {OTHER}{remedy}"
        )


def _open_locked(path: Path) -> BinaryIO:
    descriptor = open_plain(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    file = open(descriptor, "a+b")  # noqa: SIM115 (held for the whole build)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UserError(f"another build is writing to {path.parent}; wait until it ends") from None
    return file
