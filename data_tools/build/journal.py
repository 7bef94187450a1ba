"""What a build has noted so far, so that an interrupted one continues.

A journal beside the shards: the first line says what is built, each further line what became of a
shard. A shard counts as finished when its line is there AND its bytes match its entry. The journals
go when the manifest, written last, has taken their place; from then on the manifest and
failures.jsonl say the same.
"""

import fcntl
import json
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Self

from pydantic import JsonValue, ValidationError

from t2vgan.errors import UserError
from t2vgan.utils.files import atomic_write_bytes, remove_leftovers

from .protocol import WHOLE, BuildHeader, BuiltShard, Failure, Task

JOURNAL_PREFIX = ".build_journal"
JOURNAL_NAME = f"{JOURNAL_PREFIX}.jsonl"
JOURNAL_PATTERN = f"{JOURNAL_PREFIX}*.jsonl"
FAILURES_NAME = "failures.jsonl"
INPUT_LIST = "input_list_sha256"
OTHER = "choose another --out"


class Journal:
    """The journal of one build, open and locked: two builds into one folder cannot meet.

    The tasks of a divided build have a journal each, and meet; an undivided one is alone.
    """

    def __init__(
        self, folder: Path, header: BuildHeader, task: Task = WHOLE, *, where: object = None
    ):
        """`where` is what people call the folder, if not by its path."""
        self.path = folder / journal_name(task)
        self._file = _open_locked(self.path)
        for other in folder.glob(JOURNAL_PATTERN):  # each looks after locking its own
            if other != self.path and JOURNAL_NAME in (self.path.name, other.name):
                try:
                    _open_locked(other).close()
                except UserError:
                    self.close()
                    raise
        lines = self._whole_lines()
        if lines:
            found = parse_header(lines[0], self.path)
            refuse_other_arguments(where or folder, found, header.identity)
        else:
            self._append(header.model_dump_json())
        self.built = parse_built(lines[1:])
        if task.count == 1:  # of a build that was killed; the lock is ours
            remove_leftovers(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def record(self, built: BuiltShard) -> None:
        """Note what became of a shard, once it is published."""
        self._append(built.model_dump_json())

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

    def _append(self, line: str) -> None:
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
    """Write a task's journal as a build that made these shards would have left it."""
    lines = (header.model_dump_json(), *(shard.model_dump_json() for shard in built.values()))
    atomic_write_bytes(folder / journal_name(task), "".join(f"{x}\n" for x in lines).encode())


def read_journals(folder: Path) -> tuple[BuildHeader, dict[int, BuiltShard]]:
    """Return what the journals in a folder say together; UserError if they are of two builds."""
    header = None
    built: dict[int, BuiltShard] = {}
    for path in sorted(folder.glob(JOURNAL_PATTERN)):
        first, *lines = path.read_bytes().splitlines() or [b""]
        found = BuildHeader.model_validate_json(first) if parse_header(first, path) else None
        assert found is not None
        if header is not None:
            refuse_other_arguments(folder, found.identity, header.identity)
        header = found
        built |= parse_built(lines)
    if header is None:
        raise UserError(f"{folder} holds no journal of an unfinished build; nothing to merge")
    return header, built


def parse_header(line: bytes, path: Path | str) -> dict[str, JsonValue]:
    """Return the identity that a journal's first line records."""
    try:
        return BuildHeader.model_validate_json(line).identity
    except ValidationError:
        raise UserError(
            f"{path} was written by another version; remove it to build what it recorded again"
        ) from None


def parse_built(lines: Iterable[bytes]) -> dict[int, BuiltShard]:
    """Return the shards that a journal's lines record; a later line about a shard counts."""
    built = {}
    for line in lines:
        try:
            shard = BuiltShard.model_validate_json(line)
        except ValidationError:  # torn: that shard is made again
            continue
        built[shard.index] = shard
    return built


def read_failures(folder: Path, where: object = None) -> list[Failure]:
    """Return the rows that failures.jsonl lists, in the order of the input.

    `where` is what people call the folder, if not by its path.
    """
    path = folder / FAILURES_NAME
    if not path.exists():
        return []
    try:
        return [Failure.model_validate_json(line) for line in path.read_bytes().splitlines()]
    except ValidationError as error:
        told = f"{where or folder}/{FAILURES_NAME}"
        raise UserError(f"{told} is damaged ({error.errors()[0]['msg']}); remove it") from None


def write_failures(folder: Path, built: Iterable[BuiltShard]) -> None:
    """Write failures.jsonl, whole or not at all."""
    failures = [f for shard in sorted(built, key=lambda s: s.index) for f in shard.failures]
    text = "".join(f"{json.dumps(f.model_dump(), ensure_ascii=False)}\n" for f in failures)
    atomic_write_bytes(folder / FAILURES_NAME, text.encode())


def refuse_other_arguments(
    where: object, found: dict[str, JsonValue], wanted: dict[str, JsonValue]
) -> None:
    """Raise UserError naming the first argument in which two builds differ, and both values."""
    for name in wanted:
        if found.get(name) == wanted[name]:
            continue
        if name == INPUT_LIST:
            raise UserError(f"{where} holds another input (a row or a caption differs); {OTHER}")
        told = f"{where} holds a build with {name}={found.get(name)}, not {wanted[name]}; {OTHER}"
        if name == "builder":
            raise UserError(told)
        raise UserError(f"{told}, or give the same {name} to continue that build")


def _open_locked(path: Path) -> BinaryIO:
    file = open(path, "a+b")  # noqa: SIM115 (held for the whole build)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise UserError(f"another build is writing to {path.parent}; wait for it") from None
    return file
