"""Read and write shards in a local folder or behind a URL."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

from t2vgan.data.manifest import (
    MANIFEST_NAME,
    Manifest,
    ShardEntry,
    fingerprint,
    load_manifest,
    parse_manifest,
)
from t2vgan.data.remote import RemoteFolder
from t2vgan.errors import UserError
from t2vgan.utils.files import atomic_write_bytes
from t2vgan.utils.untrusted import MAX_JSON_BYTES, read_bytes
from t2vgan.utils.urls import as_location, is_url, redact_url

from .journal import (
    FAILURES_NAME,
    JOURNAL_PREFIX,
    check_same_arguments,
    parse_header,
    read_journals,
    write_journal,
)
from .protocol import WHOLE, BuildHeader, BuiltShard, Task, identity_of

CONNECTIONS = 16
CLAIM_PREFIX = f"{JOURNAL_PREFIX}-of-"


class Destination:
    """A local folder, in which shards are made in place."""

    def __init__(self, folder: Path):
        self.folder = folder
        """Local folder with manifest, journals and failures.jsonl during the build."""

    def __str__(self) -> str:
        return str(self.folder)

    def fetch(self, task: Task) -> None:
        """Download the records of earlier runs, but not their shards."""

    def fetch_finished(self) -> None:
        """Download the manifest and failures.jsonl, if they exist."""

    def manifest(self) -> Manifest:
        """Load the manifest, or raise UserError if missing or damaged."""
        return load_manifest(self.folder)

    def has(self, name: str) -> bool:
        """Return whether a file of this name exists."""
        return (self.folder / name).exists()

    def claim(self, header: BuildHeader) -> None:
        """Exclude other builds; raise UserError if another one came first."""

    @contextmanager
    def copy_of(self, entry: ShardEntry) -> Iterator[Path]:
        """Yield the local path of a shard, or raise FileNotFoundError."""
        yield self.folder / entry.name

    def deliver(self, name: str, built: BuiltShard) -> None:
        """Move a finished shard from `folder` to the destination."""

    def record(self, header: BuildHeader, built: BuiltShard) -> None:
        """Record the result of a shard for later runs."""

    def write(self, name: str, data: bytes) -> None:
        """Write a small file."""
        atomic_write_bytes(self.folder / name, data)

    def publish(self) -> None:
        """Move the files in `folder` to the destination, the manifest last."""


class RemoteDestination(Destination):
    """A folder behind a URL, with a journal for each finished shard.

    Object storage has no locks. So a build first writes a claim and then reads the claims of
    others: of two different builds at most one continues. Two equal builds do the work twice, with
    equal bytes.
    """

    def __init__(self, url: str, folder: Path):
        super().__init__(folder)
        self._url = url
        self.url = redact_url(url)
        """For messages."""
        self._names: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return self.url

    def fetch(self, task: Task) -> None:
        sizes = _remote(self._url).sizes()
        if sizes is None:
            raise UserError(f"{self.url}: web servers are read-only; give a bucket's URL")
        self._names = frozenset(sizes)
        self._download(*{MANIFEST_NAME, FAILURES_NAME} & self._names)
        recorded = [name for name in sizes if name.startswith(JOURNAL_PREFIX)]
        with tempfile.TemporaryDirectory() as journals:
            for name, text in self._read_all(recorded).items():
                (Path(journals) / name).write_bytes(text)
            if recorded:
                write_journal(self.folder, task, *read_journals(Path(journals)))

    def _read_all(self, names: Sequence[str]) -> dict[str, bytes]:
        try:
            with ThreadPoolExecutor(CONNECTIONS) as pool:
                return dict(zip(names, pool.map(_remote(self._url).read, names), strict=True))
        except FileNotFoundError:
            raise self._just_finished() from None

    def _just_finished(self) -> UserError:
        return UserError(
            f"{self.url}: another build has just finished there; run the same command again"
        )

    def fetch_finished(self) -> None:
        for name in (MANIFEST_NAME, FAILURES_NAME):
            with suppress(FileNotFoundError):
                self._download(name)

    def _download(self, *names: str) -> None:
        for name in names:
            (self.folder / name).write_bytes(_remote(self._url).read(name))

    def manifest(self) -> Manifest:
        where = f"{self.url}/{MANIFEST_NAME}"
        try:
            return parse_manifest(read_bytes(self.folder / MANIFEST_NAME, MAX_JSON_BYTES), where)
        except FileNotFoundError:
            raise UserError(
                f"{self.url} has no {MANIFEST_NAME}; give the URL of a folder of finished shards"
            ) from None

    def has(self, name: str) -> bool:
        return name in self._names

    def claim(self, header: BuildHeader) -> None:
        remote = _remote(self._url)
        own = f"{CLAIM_PREFIX}{fingerprint(identity_of(header))[:16]}.jsonl"
        remote.write(own, f"{header.model_dump_json()}\n".encode())
        names = remote.sizes() or {}
        others = [name for name in names if name.startswith(CLAIM_PREFIX) and name != own]
        try:
            for name, text in self._read_all(others).items():
                found = parse_header(text, f"{self}/{name}")
                check_same_arguments(self, found, header)
            if MANIFEST_NAME in names and MANIFEST_NAME not in self._names:
                raise self._just_finished()
        except UserError:
            remote.remove(own)
            raise

    @contextmanager
    def copy_of(self, entry: ShardEntry) -> Iterator[Path]:
        """Download a shard, at most one byte more than expected."""
        size = _remote(self._url).size(entry.name)  # None if a web server sends no length
        num_bytes = entry.num_bytes if size is None else min(size, entry.num_bytes + 1)
        with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".tmp-") as file:
            _remote(self._url).download(entry.name, num_bytes, file)
            file.flush()
            yield Path(file.name)

    def deliver(self, name: str, built: BuiltShard) -> None:
        if built.entry is None:
            with suppress(FileNotFoundError):
                _remote(self._url).remove(name)
            return
        _remote(self._url).upload(self.folder / name, name)
        (self.folder / name).unlink()

    def record(self, header: BuildHeader, built: BuiltShard) -> None:
        text = f"{header.model_dump_json()}\n{built.model_dump_json()}\n"
        _remote(self._url).write(_journal_of(built), text.encode())

    def write(self, name: str, data: bytes) -> None:
        _remote(self._url).write(name, data)

    def publish(self) -> None:
        remote = _remote(self._url)
        for name in (FAILURES_NAME, MANIFEST_NAME):
            if (self.folder / name).exists():
                remote.upload(self.folder / name, name)
        for name in remote.sizes() or ():
            if name.startswith(JOURNAL_PREFIX):
                with suppress(FileNotFoundError):  # an equal build has just removed it
                    remote.remove(name)


@contextmanager
def open_destination(location: Path | str, task: Task = WHOLE) -> Iterator[Destination]:
    """Open a folder or URL for a build and fetch its records."""
    with _locate(location) as destination:
        destination.fetch(task)
        yield destination


@contextmanager
def open_finished(location: Path | str) -> Iterator[Destination]:
    """Open a finished data set; its shards are downloaded without a cache."""
    with _locate(location) as destination:
        destination.fetch_finished()
        yield destination


@contextmanager
def _locate(location: Path | str) -> Iterator[Destination]:
    location = as_location(location)
    if not is_url(location):
        yield Destination(Path(location))
        return
    with tempfile.TemporaryDirectory(prefix="t2vgan-") as name:
        yield RemoteDestination(location, Path(name))


def _journal_of(built: BuiltShard) -> str:
    return f"{JOURNAL_PREFIX}-{built.index:06d}.jsonl"


@lru_cache(maxsize=4)
def _remote(url: str) -> RemoteFolder:
    """Return this process's client of a URL."""
    return RemoteFolder(url)
