"""Shards read from front to back; what cannot be read is counted and named, never fatal here.

A shard that is missing, unreadable, not what the manifest says, or that does not answer in time
yields a BadSample for each sample that it owes. So the order of the data never shifts, and ranks
stay in step; how much damage is too much, the trainer decides.
"""

import os
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from t2vgan.cli import describe
from t2vgan.data_order import Segment
from t2vgan.errors import UserError
from t2vgan.shards import EncodedSample, Manifest, ShardEntry, read_samples, verify_checksum

Signature = tuple[int, int, int]


@dataclass(frozen=True)
class BadSample:
    """A sample that could not be used, and why."""

    shard: str
    key: str
    reason: str
    """Of a few, to be counted: missing, permission denied, stalled, changed, damaged, ..."""
    detail: str
    """For people."""


Window = list[tuple[str, EncodedSample | BadSample]]


class ShardReader:
    """Reads segments of shards; a segment that starts where the last one ended is not reopened.

    A shard that once failed stays failed for this reader: its bytes cannot be trusted.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, *, verify: bool, timeout_seconds: float = 300
    ) -> None:
        self.folder = folder
        self.entries = manifest.shards
        self.verify = verify
        self.timeout_seconds = timeout_seconds
        self.verified: dict[int, Signature] = {}
        self.damaged: dict[int, tuple[str, str]] = {}  # shard -> (reason, detail)
        self.shard: OpenShard | None = None

    def read(self, segment: Segment) -> Window:
        """Return a segment's samples, still encoded or bad, each with its shard's name."""
        entry = self.entries[segment.shard]
        samples: list[EncodedSample | BadSample] = []
        if segment.shard not in self.damaged:
            try:
                self._read_in_time(segment, samples)
            except (OSError, UserError) as error:
                self.damaged[segment.shard] = (reason_of(error), describe(error))
                self.shard = None
        samples += [
            BadSample(entry.name, f"#{segment.first + i}", *self.damaged[segment.shard])
            for i in range(len(samples), segment.count)
        ]
        return [(entry.name, sample) for sample in samples]

    def _read_in_time(self, segment: Segment, samples: list[EncodedSample | BadSample]) -> None:
        """Append a segment's samples; a read that never returns is left behind in its thread."""
        found: list[EncodedSample] = []
        ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                self._fill(segment, found)
                ended.put(None)
            except BaseException as error:  # handed to the thread that waits
                ended.put(error)

        threading.Thread(target=work, name="shard-read", daemon=True).start()
        try:
            error = ended.get(timeout=self.timeout_seconds)
        except queue.Empty:
            name = self.entries[segment.shard].name
            raise TimeoutError(
                f"{name}: a read took longer than {self.timeout_seconds} s"
            ) from None
        samples += found
        if error is not None:
            raise error

    def _fill(self, segment: Segment, found: list[EncodedSample]) -> None:
        entry = self.entries[segment.shard]
        path = self.folder / entry.name
        signature = signature_of(path)
        check_size(path, signature, entry)
        if self.verify and self.verified.get(segment.shard) != signature:
            verify_checksum(self.folder, entry)
            self.verified[segment.shard] = signature
        shard = self.shard
        if shard is None or not shard.stands_at(segment, signature):
            shard = self.shard = OpenShard(path, entry, segment, signature)
        shard.read(segment.count, found)


class OpenShard:
    """One shard being read from front to back."""

    def __init__(
        self, path: Path, entry: ShardEntry, segment: Segment, signature: Signature
    ) -> None:
        self.entry, self.number, self.place = entry, segment.shard, segment.first
        self.signature = signature
        self.samples: Iterator[EncodedSample] = read_samples(path, skip=segment.first)

    def stands_at(self, segment: Segment, signature: Signature) -> bool:
        place = (self.number, self.place, self.signature)
        return place == (segment.shard, segment.first, signature)

    def read(self, count: int, found: list[EncodedSample]) -> None:
        """Append the next `count` samples as far as they can be read."""
        for _ in range(count):
            sample = next(self.samples, None)
            if sample is None:
                raise UserError(
                    f"{self.entry.name}: the manifest says {self.entry.num_samples} samples, the"
                    f" shard ends after {self.place}"
                )
            found.append(sample)
            self.place += 1


def signature_of(path: Path) -> Signature:
    """Return what changes when a file is replaced or written to: size, time, identity."""
    status = os.stat(path)
    return (status.st_size, status.st_mtime_ns, status.st_ino)


def check_size(path: Path, signature: Signature, entry: ShardEntry) -> None:
    found, expected = signature[0], entry.num_bytes
    if found != expected:
        how = "truncated" if found < expected else "changed"
        raise UserError(f"{path}: {how}: expected {expected} bytes, found {found}")


def reason_of(error: Exception) -> str:
    """Return a word or two to count an error under."""
    if isinstance(error, FileNotFoundError):
        return "missing"
    if isinstance(error, PermissionError):
        return "permission denied"
    if isinstance(error, TimeoutError):
        return "stalled"
    if isinstance(error, OSError):
        return "unreadable"
    text = str(error)
    if "truncated" in text or "shard ends after" in text:
        return "truncated"
    return "changed" if "expected" in text else "damaged"
