"""The order of the data: a pure function of the manifest, the seed and one integer.

Epoch e lays all shards end to end in an order permuted by (seed, e). That line is cut into
`num_streams` equal spans. A stream reads its span from front to back and shuffles inside fixed
windows counted from the span's start. Global batch k takes the next `global_batch_size /
num_streams` samples of every stream. Nothing depends on rank, world size or threads, so the whole
state of the data is the step; and reading is sequential, so shards can live far away.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from t2vgan.errors import UserError
from t2vgan.utils.seeds import permutation


@dataclass(frozen=True)
class Segment:
    """`count` consecutive samples of shard `shard` (an index into the manifest)."""

    shard: int
    first: int
    count: int


@dataclass(frozen=True)
class StreamSampler:
    """Where every sample of every stream lives: arithmetic only, nothing is opened."""

    counts: tuple[int, ...]
    num_streams: int
    shuffle_window: int
    seed: int

    def __post_init__(self) -> None:
        if self.num_streams > len(self.counts):
            raise UserError(
                f"data.num_streams={self.num_streams} must be at most the number of shards ="
                f" {len(self.counts)}; build smaller shards (--clips-per-shard,"
                " --rows-per-shard) or use --data.num-streams"
                f" {len(self.counts)}"
            )
        if self.stream_length == 0:
            raise UserError(
                f"data.num_streams={self.num_streams} is more than the {sum(self.counts)} samples"
                " of the data"
            )

    @property
    def stream_length(self) -> int:
        """Samples of each stream in one epoch; sum(counts) mod num_streams sit the epoch out."""
        return sum(self.counts) // self.num_streams

    def segments(self, epoch: int, stream: int, start: int, stop: int) -> list[Segment]:
        """Return where offsets start..stop-1 of a stream's epoch lie, in reading order."""
        shards, edges = self._line(epoch)
        position = stream * self.stream_length + start
        end = stream * self.stream_length + stop
        found = []
        while position < end:
            index = bisect_right(edges, position) - 1
            count = min(edges[index + 1], end) - position
            found.append(Segment(shards[index], position - edges[index], count))
            position += count
        return found

    def windows(self, stream: int, position: int) -> Iterator[tuple[list[Segment], np.ndarray]]:
        """Yield (segments to read, the order to hand them out) from `position` on, for ever.

        The first order is cut short where `position` falls inside a window.
        """
        while True:
            epoch, offset = divmod(position, self.stream_length)
            window, already = divmod(offset, self.shuffle_window)
            start = window * self.shuffle_window
            stop = min(start + self.shuffle_window, self.stream_length)
            shuffled = permutation(stop - start, self.seed, "window", epoch, stream, window)
            yield self.segments(epoch, stream, start, stop), shuffled[already:]
            position += len(shuffled) - already

    def locate(self, stream: int, position: int) -> tuple[int, int]:
        """Return (shard, index in the shard) of one sample."""
        segments, order = next(self.windows(stream, position))
        offset = int(order[0])
        for segment in segments:
            if offset < segment.count:
                return segment.shard, segment.first + offset
            offset -= segment.count
        raise AssertionError("an offset lies inside its window")

    def _line(self, epoch: int) -> tuple[list[int], list[int]]:
        return _shard_line(self.counts, self.seed, epoch)


@lru_cache(maxsize=4)
def _shard_line(counts: tuple[int, ...], seed: int, epoch: int) -> tuple[list[int], list[int]]:
    """Return an epoch's shard order and the line positions where each shard starts and ends."""
    shards = permutation(len(counts), seed, "shards", epoch)
    edges = np.concatenate([[0], np.cumsum(np.asarray(counts)[shards])])
    return shards.tolist(), edges.tolist()
