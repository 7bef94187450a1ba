"""Shards from far away, kept on this machine's disk: bounded, shared by processes, always whole.

A shard lies under the name of its SHA-256, so that any number of runs and data sets share a folder.
It is downloaded under a temporary name, which the downloading process has locked and which has from
the first byte on the size that it will have: so the sizes of all files are what the cache takes,
and whoever meets the name without a lock knows that its process was killed.
"""

import fcntl
import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from t2vgan.data.manifest import ShardEntry
from t2vgan.errors import UserError

POLL_SECONDS = 0.1
DEFAULT_PATH = Path("~/.cache/t2vgan/shards")

Download = Callable[[BinaryIO], None]


class ShardCache:
    """A folder of downloaded shards; the least recently used ones make room for new ones."""

    def __init__(self, path: Path | None = None, gigabytes: float = 20) -> None:
        self.path = (path or DEFAULT_PATH).expanduser()
        self.gigabytes = gigabytes

    def open(self, entry: ShardEntry, download: Download, *, verify: bool = True) -> BinaryIO:
        """Return a shard's file, downloaded if it is not here; open, no eviction takes it away.

        `download` writes the shard, or raises. `verify` proves one that was here already.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        while True:
            file = self._open_found(entry, verify) or self._fetch(entry, download)
            if file is not None:
                return file

    def _open_found(self, entry: ShardEntry, verify: bool) -> BinaryIO | None:
        """Return a shard that is here; one that the disk has spoilt is removed."""
        path = self._path_of(entry)
        try:
            file = open(path, "rb")  # noqa: SIM115 (the caller closes it)
        except FileNotFoundError:
            return None
        sound = os.fstat(file.fileno()).st_size == entry.num_bytes
        if not sound or (verify and digest_of(file) != entry.sha256):
            file.close()
            path.unlink(missing_ok=True)
            return None
        os.utime(file.fileno())  # used now
        return file

    def _fetch(self, entry: ShardEntry, download: Download) -> BinaryIO | None:
        """Download a shard; return None where another process has meanwhile done so, or failed."""
        temporary = self.path / f".tmp-{entry.sha256}"
        with open(os.open(temporary, os.O_RDWR | os.O_CREAT, 0o644), "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not is_still(file, temporary):
                return None
            try:
                self._reserve(file, entry)
                download(file)
                file.flush()
                os.fsync(file.fileno())
                finished = open(temporary, "rb")  # noqa: SIM115 (the caller closes it)
                os.replace(temporary, self._path_of(entry))
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return finished

    def _reserve(self, file: BinaryIO, entry: ShardEntry) -> None:
        """Give the file its final size as soon as the cache has room for it."""
        limit = round(self.gigabytes * 1e9)
        if entry.num_bytes > limit:
            raise UserError(
                f"data.cache_gigabytes={self.gigabytes:g} must hold a shard: {entry.name} has"
                f" {entry.num_bytes} bytes; raise it or build smaller shards"
            )
        while True:
            with open(self.path / ".lock", "a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                file.truncate(0)
                if self._shrink_to(limit - entry.num_bytes):
                    file.truncate(entry.num_bytes)
                    return
            time.sleep(POLL_SECONDS)  # downloads of other processes take the room

    def _shrink_to(self, num_bytes: int) -> bool:
        """Remove what was not used for longest, until the rest takes at most `num_bytes`."""
        remove_abandoned(self.path)
        downloads, shards = measured(self.path, ".tmp-*"), measured(self.path, "*.tar")
        total = sum(status.st_size for _, status in downloads + shards)
        for path, status in sorted(shards, key=lambda shard: shard[1].st_mtime_ns):
            if total <= num_bytes:
                break
            path.unlink(missing_ok=True)
            total -= status.st_size
        return total <= num_bytes

    def _path_of(self, entry: ShardEntry) -> Path:
        return self.path / f"{entry.sha256}.tar"


def measured(folder: Path, pattern: str) -> list[tuple[Path, os.stat_result]]:
    """Return the files of a pattern, less those that vanish meanwhile, each with its status."""
    found = []
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):
            found.append((path, path.stat()))
    return found


def remove_abandoned(folder: Path) -> None:
    """Remove the downloads of processes that were killed: nobody holds their lock."""
    for path in folder.glob(".tmp-*"):
        try:
            with open(path, "r+b") as file:  # NFS locks what is open for writing
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if is_still(file, path):
                    path.unlink()
        except (BlockingIOError, FileNotFoundError):
            continue


def is_still(file: BinaryIO, path: Path) -> bool:
    """Return whether an open file is still what a path names."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


def digest_of(file: BinaryIO) -> str:
    """Return the SHA-256 of an open file's bytes, and leave it at its start."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return digest
