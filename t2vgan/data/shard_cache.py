"""Bounded disk cache of remote shards, shared by processes.

A shard is named by its SHA-256, so that any number of runs and datasets can share a folder. It is
downloaded to a temporary file, which is locked by the downloading process and has its final size
from the start. So the sum of all file sizes is the size of the cache, and an unlocked temporary
file is left over from a killed process.
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
from t2vgan.utils.files import NotPlainFileError, open_plain

POLL_SECONDS = 0.1
DEFAULT_PATH = Path("~/.cache/t2vgan/shards")

Download = Callable[[BinaryIO], None]


class ShardCache:
    """A folder of downloaded shards with least-recently-used eviction."""

    def __init__(self, path: Path | None = None, gigabytes: float = 20) -> None:
        self.path = (path or DEFAULT_PATH).expanduser()
        self.gigabytes = gigabytes

    def open(self, entry: ShardEntry, download: Download, *, verify: bool = True) -> BinaryIO:
        """Open a shard's file, downloading it first if it is missing.

        `download` writes the shard, or raises. With `verify`, the checksum of a shard that is
        already cached is compared. Eviction does not affect an open file.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        while True:
            file = self._open_cached(entry, verify) or self._fetch(entry, download)
            if file is not None:
                return file

    def _open_cached(self, entry: ShardEntry, verify: bool) -> BinaryIO | None:
        """Open a cached shard; None if absent or damaged, which removes it."""
        path = self._path_of(entry)
        try:
            file = open_own(path, "rb", os.O_RDONLY)
        except FileNotFoundError:
            return None
        intact = os.fstat(file.fileno()).st_size == entry.num_bytes
        if not intact or (verify and compute_sha256(file) != entry.sha256):
            file.close()
            path.unlink(missing_ok=True)
            return None
        os.utime(file.fileno())  # mark as recently used
        return file

    def _fetch(self, entry: ShardEntry, download: Download) -> BinaryIO | None:
        """Download a shard; None if another process finished or failed meanwhile."""
        temporary = self.path / f".tmp-{entry.sha256}"
        with open_own(temporary, "r+b", os.O_RDWR | os.O_CREAT) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not is_same_file(file, temporary):
                return None
            try:
                self._reserve(file, entry)
                download(file)
                file.flush()
                os.fsync(file.fileno())
                finished = open_own(temporary, "rb", os.O_RDONLY)
                os.replace(temporary, self._path_of(entry))
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return finished

    def _reserve(self, file: BinaryIO, entry: ShardEntry) -> None:
        """Set the file's final size once the cache has space for it."""
        limit = round(self.gigabytes * 1e9)
        if entry.num_bytes > limit:
            raise UserError(
                f"data.cache_gigabytes={self.gigabytes:g} must be at least the size of a shard,"
                f" but {entry.name} has {entry.num_bytes} bytes; raise it or build smaller shards"
            )
        while True:
            with open_own(self.path / ".lock", "ab", os.O_WRONLY | os.O_CREAT) as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                file.truncate(0)
                if self._shrink_to(limit - entry.num_bytes):
                    file.truncate(entry.num_bytes)
                    return
            time.sleep(POLL_SECONDS)  # downloads of other processes fill the cache

    def _shrink_to(self, num_bytes: int) -> bool:
        """Evict least recently used shards; return whether `num_bytes` was reached."""
        remove_abandoned(self.path)
        downloads, shards = list_files(self.path, ".tmp-*"), list_files(self.path, "*.tar")
        total = sum(status.st_size for _, status in downloads + shards)
        for path, status in sorted(shards, key=lambda shard: shard[1].st_mtime_ns):
            if total <= num_bytes:
                break
            path.unlink(missing_ok=True)
            total -= status.st_size
        return total <= num_bytes

    def _path_of(self, entry: ShardEntry) -> Path:
        return self.path / f"{entry.sha256}.tar"


def open_own(path: Path, mode: str, flags: int) -> BinaryIO:
    """Open a file of the cache; remove links and pipes first.

    Raises:
        FileNotFoundError: there is none, and `flags` lack O_CREAT.
    """
    while True:
        try:
            return open(open_plain(path, flags), mode)  # type: ignore[return-value] # it is binary
        except NotPlainFileError:
            if path.is_dir() and not path.is_symlink():
                raise
            path.unlink(missing_ok=True)


def list_files(folder: Path, pattern: str) -> list[tuple[Path, os.stat_result]]:
    """Return the files of a pattern with their status, skipping vanished ones."""
    found = []
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):
            found.append((path, path.lstat()))
    return found


def remove_abandoned(folder: Path) -> None:
    """Remove unlocked downloads, which are left over from killed processes."""
    for path in folder.glob(".tmp-*"):
        try:
            # NFS can lock only files that are open for writing.
            with open_own(path, "r+b", os.O_RDWR) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if is_same_file(file, path):
                    path.unlink()
        except (BlockingIOError, FileNotFoundError):
            continue


def is_same_file(file: BinaryIO, path: Path) -> bool:
    """Return whether a path still refers to an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.lstat(path))
    except FileNotFoundError:
        return False


def compute_sha256(file: BinaryIO) -> str:
    """Return an open file's SHA-256, and rewind it."""
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    file.seek(0)
    return digest
