"""Sample order: a pure function of manifest, seed and one integer.

Epoch e concatenates all shards in an order permuted by (seed, e). The result is divided into
`num_streams` equal spans. A stream reads its span from start to end and shuffles within fixed
windows counted from the span's start. Global batch k takes the next `global_batch_size /
num_streams` samples of every stream. Nothing depends on rank, world size or threads, so the whole
state of the data is the step; and reading is sequential, so shards may be remote.

Several datasets are mixed in rounds. In each round of a stream, dataset i has `slots[i]` slots,
permuted by (seed, stream, round); its n-th slot in a stream holds sample n of its own order there.
So proportions are exact in every round, and seeking only needs to count slots in one round.
"""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import repeat

import numpy as np

from t2vgan.errors import UserError
from t2vgan.utils.seeds import permutation

WEIGHT_STEP = Decimal("0.001")
"""Resolution of mixture weights, which range from one thousandth to a thousand."""


@dataclass(frozen=True)
class Segment:
    """`count` consecutive samples of shard `shard` (an index into the manifest)."""

    shard: int
    first: int
    count: int


@dataclass(frozen=True)
class StreamSampler:
    """Compute the location of each stream's samples, without opening shards."""

    counts: tuple[int, ...]
    num_streams: int
    shuffle_window: int
    seed: int

    def __post_init__(self) -> None:
        if self.stream_length == 0:
            raise UserError(
                f"data.num_streams={self.num_streams} must be at most the number of samples ="
                f" {sum(self.counts)}"
            )

    @property
    def stream_length(self) -> int:
        """Number of samples of each stream in one epoch.

        The last sum(counts) mod num_streams samples of an epoch are left out.
        """
        return sum(self.counts) // self.num_streams

    def segments(self, epoch: int, stream: int, start: int, stop: int) -> list[Segment]:
        """Return the segments of offsets start..stop-1 of a stream's epoch."""
        shards, edges = _shard_line(self.counts, self.seed, epoch)
        position = stream * self.stream_length + start
        end = stream * self.stream_length + stop
        found = []
        while position < end:
            index = bisect_right(edges, position) - 1
            count = min(edges[index + 1], end) - position
            found.append(Segment(shards[index], position - edges[index], count))
            position += count
        return found

    def windows(
        self, stream: int, position: int
    ) -> Iterator[tuple[list[Segment], np.ndarray, int]]:
        """Yield windows endlessly, starting with the one that contains `position`.

        Each consists of the segments to read, the shuffled indexes, and how many of these come
        before `position`.
        """
        while True:
            epoch, offset = divmod(position, self.stream_length)
            window, already = divmod(offset, self.shuffle_window)
            start = window * self.shuffle_window
            stop = min(start + self.shuffle_window, self.stream_length)
            shuffled = permutation(stop - start, self.seed, "window", epoch, stream, window)
            yield self.segments(epoch, stream, start, stop), shuffled, already
            position += len(shuffled) - already


@lru_cache(maxsize=4)
def _shard_line(counts: tuple[int, ...], seed: int, epoch: int) -> tuple[list[int], list[int]]:
    """Return an epoch's shard order, and the cumulative sample counts."""
    shards = permutation(len(counts), seed, "shards", epoch)
    edges = np.concatenate([[0], np.cumsum(np.asarray(counts)[shards])])
    return shards.tolist(), edges.tolist()


@dataclass(frozen=True)
class MixtureSampler:
    """Mix the samplers of one or more datasets in rounds."""

    parts: tuple[StreamSampler, ...]
    slots: tuple[int, ...]
    seed: int

    @property
    def num_streams(self) -> int:
        return self.parts[0].num_streams

    def part_positions(self, stream: int, position: int) -> list[int]:
        """Convert a position in a mixed stream to each dataset's own position."""
        number, offset = divmod(position, sum(self.slots))
        begun = np.bincount(self._round(stream, number)[:offset], minlength=len(self.slots))
        return [number * slots + int(count) for slots, count in zip(self.slots, begun, strict=True)]

    def iter_parts(self, stream: int, position: int) -> Iterator[int]:
        """Yield each sample's dataset number endlessly, from `position` on."""
        if len(self.slots) == 1:  # avoid a permutation for each sample
            yield from repeat(0)
        number, offset = divmod(position, sum(self.slots))
        while True:
            yield from self._round(stream, number)[offset:].tolist()
            number, offset = number + 1, 0

    def _round(self, stream: int, number: int) -> np.ndarray:
        places = np.repeat(np.arange(len(self.slots)), self.slots)
        return places[permutation(len(places), self.seed, "mix", stream, number)]


def compute_slots(weights: Sequence[Decimal]) -> tuple[int, ...]:
    """Return the smallest integers in the same proportion as the weights."""
    thousandths = [int(weight / WEIGHT_STEP) for weight in weights]
    common = math.gcd(*thousandths)
    return tuple(number // common for number in thousandths)
