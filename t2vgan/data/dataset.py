"""A folder of shards, here or behind a URL: the one door to them.

Training, what a run measures of itself, and the evaluation all read through it.
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
from t2vgan.data.shard_cache import ShardCache, digest_of
from t2vgan.data.shards import EncodedSample, samples_of
from t2vgan.data.tar import READ_BUFFER_BYTES
from t2vgan.errors import UserError
from t2vgan.utils.urls import as_location, is_url

Signature = tuple[int, int, int]


class ShardedDataset(ABC):
    """One folder of shards. A shard is named by its place in the manifest."""

    manifest: Manifest

    @abstractmethod
    def path_of(self, shard: int) -> str:
        """Return a shard's path or URL, for people."""

    @abstractmethod
    def file_version(self, shard: int) -> Signature:
        """Return what changes when a shard is replaced or written to; UserError if it was."""

    @abstractmethod
    def open(self, shard: int, *, verify: bool) -> BinaryIO:
        """Return a shard, open at its start; `verify` compares its checksum with the manifest's.

        Raises UserError when it is not what the manifest says, OSError when it cannot be read.
        """

    @abstractmethod
    def expect(self, shard: int) -> None:
        """Be told that a shard will be asked for soon."""


class LocalDataSet(ShardedDataset):
    """A folder of this machine."""

    def __init__(self, path: Path | str, manifest: Manifest) -> None:
        self.path, self.manifest = Path(path), manifest
        self._verified: dict[int, Signature] = {}

    def path_of(self, shard: int) -> str:
        return str(self.path / self.manifest.shards[shard].name)

    def file_version(self, shard: int) -> Signature:
        """Return a file's size, time and identity."""
        status = os.stat(self.path_of(shard))
        check_size(self.path_of(shard), status.st_size, self.manifest.shards[shard])
        return (status.st_size, status.st_mtime_ns, status.st_ino)

    def open(self, shard: int, *, verify: bool) -> BinaryIO:
        signature = self.file_version(shard)
        file = open(self.path_of(shard), "rb", buffering=READ_BUFFER_BYTES)  # noqa: SIM115
        if verify and self._verified.get(shard) != signature:
            check_digest(self.path_of(shard), digest_of(file), self.manifest.shards[shard])
            self._verified[shard] = signature
        return file

    def expect(self, shard: int) -> None:
        """Do nothing: it is here."""


class RemoteDataSet(ShardedDataset):
    """A folder behind a URL, whose shards pass through a cache on this machine's disk."""

    def __init__(self, folder: RemoteFolder, manifest: Manifest, cache: ShardCache) -> None:
        self.folder, self.manifest, self.cache = folder, manifest, cache
        self._coming: set[int] = set()

    def path_of(self, shard: int) -> str:
        return f"{self.folder.url}/{self.manifest.shards[shard].name}"

    def file_version(self, shard: int) -> Signature:
        """Return always the same: a file that is open here changes no more."""
        return (self.manifest.shards[shard].num_bytes, 0, 0)

    def open(self, shard: int, *, verify: bool) -> BinaryIO:
        entry, where = self.manifest.shards[shard], self.path_of(shard)

        def download(file: BinaryIO) -> None:
            size = self.folder.size(entry.name)
            check_size(where, entry.num_bytes if size is None else size, entry)
            self.folder.download(entry.name, entry.num_bytes, file)
            check_digest(where, digest_of(file), entry)  # always: the cache is others' too

        return self.cache.open(entry, download, verify=verify)

    def expect(self, shard: int) -> None:
        """Download a shard in a thread that nobody waits for."""
        if shard not in self._coming:
            self._coming.add(shard)
            threading.Thread(
                target=self._fetch_ahead, args=(shard,), name="shard-ahead", daemon=True
            ).start()

    def _fetch_ahead(self, shard: int) -> None:
        with suppress(OSError, UserError):  # met again, and said, where the shard is needed
            self.open(shard, verify=False).close()
        self._coming.discard(shard)


def open_data_set(location: Path | str, cache: ShardCache | None = None) -> ShardedDataset:
    """Open a folder or a URL; UserError when its manifest or one of its shards is not as it should.

    Only names and sizes are looked at. A URL's shards pass through `cache`, by default the usual.
    """
    location = as_location(location)
    if not is_url(location):
        manifest = load_manifest(location)
        check_shards(location, manifest)
        return LocalDataSet(location, manifest)
    folder = RemoteFolder(location)
    try:
        manifest = parse_manifest(folder.read(MANIFEST_NAME), f"{folder.url}/{MANIFEST_NAME}")
    except FileNotFoundError:
        raise UserError(
            f"{folder.url} has no {MANIFEST_NAME}; give the URL of a folder of finished shards"
        ) from None
    if (sizes := folder.sizes()) is not None:
        check_sizes(folder.url, sizes, manifest)
    return RemoteDataSet(folder, manifest, cache or ShardCache())


def check_size(where: str, found: int, entry: ShardEntry) -> None:
    """Raise UserError unless a shard has the bytes that the manifest says."""
    if found != entry.num_bytes:
        how = "truncated" if found < entry.num_bytes else "changed"
        raise UserError(f"{where}: {how}: expected {entry.num_bytes} bytes, found {found}")


def check_digest(where: str, found: str, entry: ShardEntry) -> None:
    """Raise UserError unless a shard has the checksum that the manifest says."""
    if found != entry.sha256:
        raise UserError(f"{where}: expected sha256 {entry.sha256}, found {found}")


def read_samples_of(
    data_set: ShardedDataset, *, skip: int = 0
) -> Iterator[tuple[str, EncodedSample]]:
    """Yield a data set's samples in order, all but the first `skip`, each with its shard's name.

    The name is a path or URL. Shards that are skipped whole are not opened. Raises UserError when a
    shard is damaged.
    """
    for shard, entry in enumerate(data_set.manifest.shards):
        if skip < entry.num_samples:
            where = data_set.path_of(shard)
            file = data_set.open(shard, verify=False)
            yield from ((where, sample) for sample in samples_of(file, where, skip=skip))
        skip = max(0, skip - entry.num_samples)
