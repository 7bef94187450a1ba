"""Batches of clips: the order of the data (data_order.py) read, decoded and handed out ahead.

A stream hands its samples out window by window; a bad sample is replaced by one that is a function
of the data alone, and named. Global batch k takes the next `global_batch_size / num_streams`
samples of every stream, of which a rank has its own.
"""

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, pairwise, repeat
from typing import Any

import numpy as np

from t2vgan.data.mixture import DatasetMixture
from t2vgan.data.mixture_sampler import MixtureSampler
from t2vgan.data.sampler import StreamSampler
from t2vgan.data.shard_reader import BadSample, ShardReader, Window
from t2vgan.data.shards import EncodedSample, Geometry, ShardError, decode_sample

EPOCHS_AHEAD = 10  # where a run looks whose first epochs show nothing but damaged shards


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


def iterate_stream(
    order: StreamSampler, reader: ShardReader, stream: int, position: int
) -> Iterator[tuple[Window, int]]:
    """Yield one stream's samples from `position` on as (their window in hand-out order, index).

    Where damaged shards leave nothing readable in a window, samples of the nearest one that has
    some follow at its end.
    """
    for (segments, shuffled), (coming, _) in pairwise(order.windows(stream, position)):
        for segment in coming:
            reader.expect(segment)
        window = [sample for segment in segments for sample in reader.read(segment)]
        handed_out = [window[index] for index in shuffled]
        spare = [] if readable(window) else nearest_readable(order, reader, stream, position)
        for index in range(len(handed_out)):
            yield handed_out + spare, index
        position += len(shuffled)


def iterate_mixture(
    data: DatasetMixture, order: MixtureSampler, stream: int, position: int, **options: Any
) -> Iterator[tuple[Window, int]]:
    """Yield one stream's samples of all data sets as `iterate_stream`; `options` of ShardReader."""
    starts = order.starts(stream, position)
    parts = [
        iterate_stream(own, ShardReader(data_set, **options), stream, start)
        for data_set, own, start in zip(data.parts, order.parts, starts, strict=True)
    ]
    for number in order.draws(stream, position):
        yield next(parts[number])


def nearest_readable(
    order: StreamSampler, reader: ShardReader, stream: int, position: int
) -> Window:
    """Return the readable samples of the nearest window in this epoch, else in the ones around it.

    A function of the data alone, so a resumed run finds the same; damaged shards cost no reading.
    """
    epoch, offset = divmod(position, order.stream_length)
    here = offset - offset % order.shuffle_window
    starts = range(0, order.stream_length, order.shuffle_window)
    own = sorted(starts, key=lambda start: (start > here, abs(start - here)))
    others = [*range(epoch - 1, -1, -1), *range(epoch + 1, epoch + EPOCHS_AHEAD)]
    for number, start in [(epoch, s) for s in own] + [(e, s) for e in others for s in starts]:
        stop = min(start + order.shuffle_window, order.stream_length)
        segments = order.segments(number, stream, start, stop)
        if found := readable([sample for segment in segments for sample in reader.read(segment)]):
            return found
    return []


def readable(window: Window) -> Window:
    return [(shard, sample) for shard, sample in window if isinstance(sample, EncodedSample)]


def decode_or_replace(
    window: Window, index: int, geometry: Geometry, out: np.ndarray
) -> tuple[str, str, BadSample | None]:
    """Decode a sample, or the nearest good one before it (then after it) in its window, into `out`.

    A bad sample never shifts the order, and its replacement is a function of the window alone.

    Returns:
        The sample's own key, the prompt, and what was wrong, if anything.
    """
    shard, sample = window[index]
    found = decode(window[index], geometry, out)
    if not isinstance(found, BadSample):
        return sample.key, found, None
    for neighbour in [*range(index - 1, -1, -1), *range(index + 1, len(window))]:
        prompt = decode(window[neighbour], geometry, out)
        if not isinstance(prompt, BadSample):
            return sample.key, prompt, found
    raise ShardError(f"{shard}: none of {len(window)} samples can be used; first: {found.detail}")


def decode(
    place: tuple[str, EncodedSample | BadSample], geometry: Geometry, out: np.ndarray
) -> str | BadSample:
    """Decode a sample's frames into `out` and return its prompt, or what is wrong with it."""
    shard, sample = place
    if isinstance(sample, BadSample):
        return sample
    try:
        return decode_sample(sample, geometry, out=out)[1]
    except ValueError as error:
        return BadSample(shard, sample.key, "undecodable", str(error))


class ClipLoader:
    """Yields a rank's part of global batches `start_step`, `start_step + 1`, ... for ever.

    A thread reads and decodes ahead. Leave it with `close`, or use it in a `with` statement.
    """

    def __init__(
        self,
        data: DatasetMixture,
        order: MixtureSampler,
        *,
        global_batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        start_step: int = 0,
        num_threads: int = 1,
        verify_checksums: bool = True,
        read_timeout_seconds: float = 300,
        prefetch: int = 4,
    ) -> None:
        self.data = data
        self.geometry = data.manifest.geometry
        self.order = order
        self.per_stream = global_batch_size // order.num_streams
        per_rank = order.num_streams // world_size
        self.streams = range(rank * per_rank, (rank + 1) * per_rank)
        self.step = start_step
        self.num_threads = num_threads
        self.verify_checksums = verify_checksums
        self.read_timeout_seconds = read_timeout_seconds
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
        start = self.step * self.per_stream
        options = {"verify": self.verify_checksums, "timeout_seconds": self.read_timeout_seconds}
        streams = [
            iterate_mixture(self.data, self.order, stream, start, **options)
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
