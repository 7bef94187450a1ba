"""Sharded datasets, in a folder or at a URL.

Training, the evaluations during a run and the evaluation command all read through this module.
"""

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from t2vgan.data.manifest import (
    MANIFEST_NAME,
    Manifest,
    ShardEntry,
    check_shards,
    check_sizes,
    load_manifest,
    parse_manifest,
)
from t2vgan.data.remote import RemoteFolder
from t2vgan.data.shard_cache import ShardCache, compute_sha256
from t2vgan.data.shards import EncodedSample, iter_shard_samples
from t2vgan.data.tar import READ_BUFFER_BYTES
from t2vgan.errors import UserError
from t2vgan.utils.urls import as_location, is_url

FileVersion = tuple[int, int, int]


class ShardedDataset(ABC):
    """A folder of shards, each named by its index in the manifest."""

    manifest: Manifest

    @abstractmethod
    def shard_path(self, shard: int) -> str:
        """Return a shard's path or URL for messages."""

    @abstractmethod
    def file_version(self, shard: int) -> FileVersion:
        """Return a value that changes when a shard is replaced or modified.

        Raises UserError if its size is not that in the manifest.
        """

    @abstractmethod
    def open(self, shard: int, *, verify: bool) -> BinaryIO:
        """Open a shard at its start; `verify` also compares its checksum.

        Raises UserError if it does not match the manifest, OSError if it cannot be read.
        """

    @abstractmethod
    def prefetch(self, shard: int) -> None:
        """Start fetching a shard that will be opened soon."""

    def iter_samples(
        self, *, skip: int = 0, skip_damaged: bool = False
    ) -> Iterator[tuple[str, EncodedSample]]:
        """Yield (shard path, sample) in order, without the first `skip`.

        Shards that are skipped entirely are not opened. A shard that is damaged or unreadable
        raises UserError or OSError; with `skip_damaged`, its remaining samples are skipped.
        """
        for shard, entry in enumerate(self.manifest.shards):
            if skip < entry.num_samples:
                path = self.shard_path(shard)
                try:
                    file = self.open(shard, verify=False)
                    for sample in iter_shard_samples(file, path, skip=skip):
                        yield path, sample
                except (UserError, OSError):
                    if not skip_damaged:
                        raise
            skip = max(0, skip - entry.num_samples)


class LocalDataset(ShardedDataset):
    """A folder on this machine."""

    def __init__(self, path: Path | str, manifest: Manifest) -> None:
        self.path, self.manifest = Path(path), manifest
        self._verified: dict[int, FileVersion] = {}

    def shard_path(self, shard: int) -> str:
        return str(self.path / self.manifest.shards[shard].name)

    def file_version(self, shard: int) -> FileVersion:
        """Return a file's size, modification time and inode."""
        status = os.stat(self.shard_path(shard))
        check_size(self.shard_path(shard), status.st_size, self.manifest.shards[shard])
        return (status.st_size, status.st_mtime_ns, status.st_ino)

    def open(self, shard: int, *, verify: bool) -> BinaryIO:
        version = self.file_version(shard)
        file = open(self.shard_path(shard), "rb", buffering=READ_BUFFER_BYTES)  # noqa: SIM115
        if verify and self._verified.get(shard) != version:
            check_sha256(self.shard_path(shard), compute_sha256(file), self.manifest.shards[shard])
            self._verified[shard] = version
        return file

    def prefetch(self, shard: int) -> None:
        """Do nothing: the shard is local."""


class RemoteDataset(ShardedDataset):
    """A folder at a URL, read through a cache on local disk."""

    def __init__(self, folder: RemoteFolder, manifest: Manifest, cache: ShardCache) -> None:
        self.folder, self.manifest, self.cache = folder, manifest, cache
        self._prefetching: set[int] = set()

    def shard_path(self, shard: int) -> str:
        return f"{self.folder.url}/{self.manifest.shards[shard].name}"

    def file_version(self, shard: int) -> FileVersion:
        """Return a constant, because an open cached file does not change."""
        return (self.manifest.shards[shard].num_bytes, 0, 0)

    def open(self, shard: int, *, verify: bool) -> BinaryIO:
        entry, url = self.manifest.shards[shard], self.shard_path(shard)

        def download(file: BinaryIO) -> None:
            size = self.folder.size(entry.name)
            check_size(url, entry.num_bytes if size is None else size, entry)
            self.folder.download(entry.name, entry.num_bytes, file)
            check_sha256(url, compute_sha256(file), entry)  # always: other runs share the cache

        return self.cache.open(entry, download, verify=verify)

    def prefetch(self, shard: int) -> None:
        """Download a shard in a background thread."""
        if shard not in self._prefetching:
            self._prefetching.add(shard)
            threading.Thread(
                target=self._prefetch, args=(shard,), name="shard-prefetch", daemon=True
            ).start()

    def _prefetch(self, shard: int) -> None:
        with suppress(OSError, UserError):  # raised again when the shard is opened for reading
            self.open(shard, verify=False).close()
        self._prefetching.discard(shard)


def open_dataset(location: Path | str, cache: ShardCache | None = None) -> ShardedDataset:
    """Open a dataset in a folder or at a URL.

    Only names and sizes are checked. Shards of a URL are read through `cache`, by default the
    user's. Raises UserError if the manifest or a shard is missing or invalid.
    """
    location = as_location(location)
    if not is_url(location):
        manifest = load_manifest(location)
        check_shards(location, manifest)
        return LocalDataset(location, manifest)
    folder = RemoteFolder(location)
    try:
        manifest = parse_manifest(folder.read(MANIFEST_NAME), f"{folder.url}/{MANIFEST_NAME}")
    except FileNotFoundError:
        raise UserError(
            f"{folder.url} has no {MANIFEST_NAME}; give the URL of a folder of finished shards"
        ) from None
    if (sizes := folder.sizes()) is not None:
        check_sizes(folder.url, sizes, manifest)
    return RemoteDataset(folder, manifest, cache or ShardCache())


def check_size(path: str, found: int, entry: ShardEntry) -> None:
    """Raise UserError unless a shard's size is that in the manifest."""
    if found != entry.num_bytes:
        how = "truncated" if found < entry.num_bytes else "changed"
        raise UserError(f"{path}: {how}: expected {entry.num_bytes} bytes, found {found}")


def check_sha256(path: str, found: str, entry: ShardEntry) -> None:
    """Raise UserError unless a shard's checksum is that in the manifest."""
    if found != entry.sha256:
        raise UserError(f"{path}: expected sha256 {entry.sha256}, found {found}")
