"""Read shards sequentially and turn read errors into bad samples.

A shard that is missing, unreadable, different from the manifest, or slower than the timeout yields
a BadSample for each sample that it should hold. So the sample order never shifts, and ranks stay
synchronized. The trainer limits the number of bad samples.
"""

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from t2vgan.data.dataset import FileVersion, ShardedDataset
from t2vgan.data.sampler import Segment
from t2vgan.data.shards import EncodedSample, iter_shard_samples
from t2vgan.errors import UserError
from t2vgan.utils.console import format_error


@dataclass(frozen=True)
class BadSample:
    """A sample that could not be used, and the reason."""

    shard: str
    key: str
    reason: str
    """One of a few categories: missing, permission denied, stalled, changed, damaged, ..."""
    detail: str
    """The error's message."""


Window = list[tuple[str, EncodedSample | BadSample]]
"""(shard name, sample) of a window of the sample order."""


class ShardReader:
    """Read segments of shards, continuing at the last position if possible.

    A shard that failed once counts as damaged from then on.
    """

    def __init__(
        self, dataset: ShardedDataset, *, verify: bool = True, timeout_seconds: float = 300
    ) -> None:
        self.dataset = dataset
        self.entries = dataset.manifest.shards
        self.verify = verify
        self.timeout_seconds = timeout_seconds
        self.damaged: dict[int, tuple[str, str]] = {}  # shard -> (reason, detail)
        self.shard: OpenShard | None = None

    def read(self, segment: Segment) -> Window:
        """Return a segment's samples, encoded or bad, with the shard's name."""
        entry = self.entries[segment.shard]
        samples: list[EncodedSample | BadSample] = []
        if segment.shard not in self.damaged:
            try:
                self._read_in_time(segment, samples)
            except (OSError, UserError) as error:
                self.damaged[segment.shard] = (classify_error(error), format_error(error))
        samples += [
            BadSample(entry.name, f"#{segment.first + i}", *self.damaged[segment.shard])
            for i in range(len(samples), segment.count)
        ]
        return [(entry.name, sample) for sample in samples]

    def prefetch(self, segment: Segment) -> None:
        """Start fetching the shard of a segment that will be read soon."""
        if segment.shard not in self.damaged:
            self.dataset.prefetch(segment.shard)

    def _read_in_time(self, segment: Segment, samples: list[EncodedSample | BadSample]) -> None:
        """Append a segment's samples, or raise TimeoutError.

        A read that never returns is abandoned in its thread.
        """
        found: list[EncodedSample] = []
        ended: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()

        def work() -> None:
            try:
                self._fill(segment, found)
                ended.put(None)
            except BaseException as error:  # passed to the waiting thread
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
        version = self.dataset.file_version(segment.shard)
        shard = self.shard
        if shard is None or not shard.is_at(segment, version):
            shard = self.shard = OpenShard(self.dataset, segment, version, verify=self.verify)
        shard.read(segment.count, found)


class OpenShard:
    """A shard being read sequentially."""

    def __init__(
        self, dataset: ShardedDataset, segment: Segment, version: FileVersion, *, verify: bool
    ) -> None:
        self.entry = dataset.manifest.shards[segment.shard]
        self.shard, self.position, self.version = segment.shard, segment.first, version
        file = dataset.open(segment.shard, verify=verify)
        path = dataset.shard_path(segment.shard)
        self.samples: Iterator[EncodedSample] = iter_shard_samples(file, path, skip=segment.first)

    def is_at(self, segment: Segment, version: FileVersion) -> bool:
        at = (self.shard, self.position, self.version)
        return at == (segment.shard, segment.first, version)

    def read(self, count: int, found: list[EncodedSample]) -> None:
        """Append the next `count` samples, one by one as they are read."""
        for _ in range(count):
            sample = next(self.samples, None)
            if sample is None:
                raise UserError(
                    f"{self.entry.name}: the manifest lists {self.entry.num_samples} samples, but"
                    f" the shard ends after {self.position}"
                )
            found.append(sample)
            self.position += 1


def classify_error(error: Exception) -> str:
    """Return the reason of a BadSample for an error."""
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
