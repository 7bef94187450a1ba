"""Shards read from front to back; what cannot be read is counted and named, never fatal here.

A shard that is missing, unreadable, not what the manifest says, or that does not answer in time
yields a BadSample for each sample that it owes. So the order of the data never shifts, and ranks
stay in step; how much damage is too much, the trainer decides.
"""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from t2vgan.data.dataset import ShardedDataset, Signature
from t2vgan.data.sampler import Segment
from t2vgan.data.shards import EncodedSample, samples_of
from t2vgan.errors import UserError
from t2vgan.utils.console import format_error


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
        self, data_set: ShardedDataset, *, verify: bool = True, timeout_seconds: float = 300
    ) -> None:
        self.data_set = data_set
        self.entries = data_set.manifest.shards
        self.verify = verify
        self.timeout_seconds = timeout_seconds
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
                self.damaged[segment.shard] = (reason_of(error), format_error(error))
                self.shard = None
        samples += [
            BadSample(entry.name, f"#{segment.first + i}", *self.damaged[segment.shard])
            for i in range(len(samples), segment.count)
        ]
        return [(entry.name, sample) for sample in samples]

    def expect(self, segment: Segment) -> None:
        """Announce a segment, for shards that take long to come."""
        if segment.shard not in self.damaged:
            self.data_set.expect(segment.shard)

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
        signature = self.data_set.file_version(segment.shard)
        shard = self.shard
        if shard is None or not shard.stands_at(segment, signature):
            shard = self.shard = OpenShard(self.data_set, segment, signature, verify=self.verify)
        shard.read(segment.count, found)


class OpenShard:
    """One shard being read from front to back."""

    def __init__(
        self, data_set: ShardedDataset, segment: Segment, signature: Signature, *, verify: bool
    ) -> None:
        self.entry = data_set.manifest.shards[segment.shard]
        self.number, self.place, self.signature = segment.shard, segment.first, signature
        file = data_set.open(segment.shard, verify=verify)
        where = data_set.path_of(segment.shard)
        self.samples: Iterator[EncodedSample] = samples_of(file, where, skip=segment.first)

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
