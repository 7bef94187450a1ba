"""The order of the data: a pure function of the manifest, the seed and one integer.

Epoch e lays all shards end to end in an order permuted by (seed, e). That line is cut into
`num_streams` equal spans. A stream reads its span from front to back and shuffles inside fixed
windows counted from the span's start. Global batch k takes the next `global_batch_size /
num_streams` samples of every stream. Nothing depends on rank, world size or threads, so the whole
state of the data is the step; and reading is sequential, so shards can live far away.
"""

import queue
import threading
from bisect import bisect_right
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice, repeat
from pathlib import Path

import numpy as np

from t2vgan.errors import UserError
from t2vgan.seeds import permutation
from t2vgan.shards import (
    EncodedSample,
    Geometry,
    Manifest,
    ShardError,
    decode_sample,
    read_samples,
    verify_checksum,
)


@dataclass(frozen=True)
class Segment:
    """`count` consecutive samples of shard `shard` (an index into the manifest)."""

    shard: int
    first: int
    count: int


@dataclass(frozen=True)
class DataOrder:
    """Where every sample of every stream lives: arithmetic only, nothing is opened."""

    counts: tuple[int, ...]
    num_streams: int
    shuffle_window: int
    seed: int

    def __post_init__(self) -> None:
        if self.num_streams > len(self.counts):
            raise UserError(
                f"data.num_streams={self.num_streams} must be at most the number of shards ="
                f" {len(self.counts)}; build smaller shards or use --data.num-streams"
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


@dataclass(frozen=True)
class BadSample:
    """A sample that could not be used, and why."""

    shard: str
    key: str
    reason: str


@dataclass(frozen=True)
class Batch:
    """A rank's part of one global batch of B clips."""

    step: int
    frames: np.ndarray
    """(B, T, H, W, 3) uint8."""
    prompts: list[str]
    keys: list[str]
    positions: np.ndarray
    """(B,) int64: each clip's place in the global batch."""
    bad_samples: list[BadSample]


class ShardReader:
    """Reads segments of shards; a segment that starts where the last one ended is not reopened."""

    def __init__(self, folder: Path, manifest: Manifest, *, verify: bool) -> None:
        self.folder = folder
        self.entries = manifest.shards
        self.unverified = set(range(len(self.entries))) if verify else set()
        self.samples: Iterator[EncodedSample] = iter(())
        self.place = (-1, 0)

    def read(self, segment: Segment) -> list[tuple[str, EncodedSample]]:
        """Return a segment's samples, still encoded, each with its shard's name."""
        entry = self.entries[segment.shard]
        if segment.shard in self.unverified:
            verify_checksum(self.folder, entry)
            self.unverified.discard(segment.shard)
        if self.place != (segment.shard, segment.first):
            self.samples = read_samples(self.folder / entry.name, skip=segment.first)
        samples = list(islice(self.samples, segment.count))
        if len(samples) < segment.count:
            raise ShardError(
                f"{entry.name}: the manifest says {entry.num_samples} samples, the shard ends after"
                f" {segment.first + len(samples)}; run python -m data_tools.verify_shards"
            )
        self.place = (segment.shard, segment.first + segment.count)
        return [(entry.name, sample) for sample in samples]


Window = list[tuple[str, EncodedSample]]


def iterate_stream(
    order: DataOrder, reader: ShardReader, stream: int, position: int
) -> Iterator[tuple[Window, int]]:
    """Yield one stream's samples from `position` on as (their window in hand-out order, index)."""
    for segments, shuffled in order.windows(stream, position):
        window = [sample for segment in segments for sample in reader.read(segment)]
        handed_out = [window[index] for index in shuffled]
        for index in range(len(handed_out)):
            yield handed_out, index


def decode_or_replace(
    window: Window, index: int, geometry: Geometry, out: np.ndarray
) -> tuple[str, str, BadSample | None]:
    """Decode a sample, or the nearest good one before it (then after it) in its window, into `out`.

    A bad sample never shifts the order, and its replacement is a function of the window alone.

    Returns:
        The sample's own key, the prompt, and what was wrong, if anything.
    """
    shard, sample = window[index]
    try:
        _, prompt = decode_sample(sample, geometry, out=out)
        return sample.key, prompt, None
    except ValueError as error:
        bad = BadSample(shard, sample.key, str(error))
    for neighbour in [*range(index - 1, -1, -1), *range(index + 1, len(window))]:
        try:
            _, prompt = decode_sample(window[neighbour][1], geometry, out=out)
            return sample.key, prompt, bad
        except ValueError:
            continue
    raise ShardError(f"{shard}: none of {len(window)} samples can be used; first: {bad.reason}")


class ClipLoader:
    """Yields a rank's part of global batches `start_step`, `start_step + 1`, ... for ever.

    A thread reads and decodes ahead. Leave it with `close`, or use it in a `with` statement.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        order: DataOrder,
        *,
        global_batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        start_step: int = 0,
        num_threads: int = 1,
        verify_checksums: bool = True,
        prefetch: int = 4,
    ) -> None:
        self.folder = Path(folder)
        self.manifest = manifest
        self.geometry = manifest.geometry
        self.order = order
        self.per_stream = global_batch_size // order.num_streams
        per_rank = order.num_streams // world_size
        self.streams = range(rank * per_rank, (rank + 1) * per_rank)
        self.step = start_step
        self.num_threads = num_threads
        self.verify_checksums = verify_checksums
        self.ready: queue.Queue[Batch | BaseException] = queue.Queue(maxsize=prefetch)
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._produce, name="clip-loader", daemon=True)
        self.thread.start()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        item = self.ready.get()
        if isinstance(item, BaseException):
            self.close()
            raise item
        return item

    def close(self) -> None:
        """Stop reading ahead."""
        self.closed.set()
        while not self.ready.empty():
            self.ready.get_nowait()
        self.thread.join(timeout=5)

    def __enter__(self) -> "ClipLoader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _produce(self) -> None:
        try:
            with ThreadPoolExecutor(self.num_threads, "clip-decoder") as pool:
                for batch in self._batches(pool):
                    if not self._put(batch):
                        return
        except BaseException as error:  # handed to the thread that asks for the next batch
            self._put(error)

    def _put(self, item: Batch | BaseException) -> bool:
        while not self.closed.is_set():
            try:
                self.ready.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def _batches(self, pool: ThreadPoolExecutor) -> Iterator[Batch]:
        streams = [
            iterate_stream(
                self.order,
                ShardReader(self.folder, self.manifest, verify=self.verify_checksums),
                stream,
                self.step * self.per_stream,
            )
            for stream in self.streams
        ]
        first = self.streams.start * self.per_stream
        positions = np.arange(first, first + len(streams) * self.per_stream)
        while True:
            places = [place for stream in streams for place in islice(stream, self.per_stream)]
            frames = np.empty((len(places), *self.geometry.shape), np.uint8)
            keys, prompts, bad = zip(*self._decode(pool, places, frames), strict=True)
            yield Batch(
                step=self.step,
                frames=frames,
                prompts=list(prompts),
                keys=list(keys),
                positions=positions,
                bad_samples=[sample for sample in bad if sample is not None],
            )
            self.step += 1

    def _decode(
        self, pool: ThreadPoolExecutor, places: list[tuple[Window, int]], frames: np.ndarray
    ) -> list[tuple[str, str, BadSample | None]]:
        windows, indexes = zip(*places, strict=True)
        spread = map if self.num_threads == 1 else pool.map
        return list(spread(decode_or_replace, windows, indexes, repeat(self.geometry), frames))
