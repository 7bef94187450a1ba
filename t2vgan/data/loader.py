"""Load batches of clips in the sampler's order, reading and decoding ahead.

A stream yields its samples window by window; a bad sample is reported, and replaced by one that
depends on the data only. Global batch k takes the next `global_batch_size / num_streams` samples of
every stream; each rank has its own streams.
"""

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, pairwise, repeat
from typing import Any

import numpy as np

from t2vgan.data.captions import NO_CAPTION, draw_captions
from t2vgan.data.mixture import DatasetMixture
from t2vgan.data.sampler import MixtureSampler, StreamSampler
from t2vgan.data.shard_reader import BadSample, ShardReader, Window
from t2vgan.data.shards import EncodedSample, Geometry, ShardError, decode_with_captions

EPOCHS_AHEAD = 10  # searched if earlier epochs hold only damaged shards
MOST_UNDECODABLE = 16  # windows of readable samples without a usable one that end a search

IsUsable = Callable[[tuple[str, EncodedSample | BadSample]], bool]
"""Whether an item of a window can be decoded."""


@dataclass(frozen=True)
class Batch:
    """A rank's part of one global batch of B clips."""

    step: int
    frames: np.ndarray
    """(B, T, H, W, 3) uint8."""
    prompts: list[str]
    """One caption of each clip, drawn for this step."""
    keys: list[str]
    positions: np.ndarray
    """(B,) int64: each clip's index in the global batch."""
    bad_samples: list[BadSample]


def iterate_stream(
    sampler: StreamSampler, reader: ShardReader, is_usable: IsUsable, stream: int, position: int
) -> Iterator[tuple[Window, int]]:
    """Yield a stream's samples from `position` on as (shuffled window, index).

    Windows are read whole, even if a run resumes inside one. If a window has no usable sample, the
    samples of the nearest window that has one are appended.
    """
    windows = pairwise(sampler.windows(stream, position))
    for (segments, shuffled, already), (upcoming, *_) in windows:
        for segment in upcoming:
            reader.prefetch(segment)
        window = [sample for segment in segments for sample in reader.read(segment)]
        in_order = [window[index] for index in shuffled]
        spare = []
        if not any(map(is_usable, window)):
            spare = find_usable_window(sampler, reader, is_usable, stream, position)
        for index in range(already, len(in_order)):
            yield in_order + spare, index
        position += len(shuffled) - already


def iterate_mixture(
    data: DatasetMixture,
    sampler: MixtureSampler,
    is_usable: IsUsable,
    stream: int,
    position: int,
    **options: Any,
) -> Iterator[tuple[Window, int]]:
    """Yield a stream's samples of all datasets, as in `iterate_stream`.

    `options` are those of ShardReader.
    """
    starts = sampler.part_positions(stream, position)
    parts = [
        iterate_stream(part_sampler, ShardReader(dataset, **options), is_usable, stream, start)
        for dataset, part_sampler, start in zip(data.parts, sampler.parts, starts, strict=True)
    ]
    for number in sampler.iter_parts(stream, position):
        yield next(parts[number])


def find_usable_window(
    sampler: StreamSampler, reader: ShardReader, is_usable: IsUsable, stream: int, position: int
) -> Window:
    """Return the nearest window with a usable sample; empty without one.

    Windows of this epoch are searched first, then earlier and later epochs. The result depends on
    the data only, so a resumed run finds the same. Damaged shards are not read again.
    """
    num_undecodable = 0
    epoch, offset = divmod(position, sampler.stream_length)
    here = offset - offset % sampler.shuffle_window
    starts = range(0, sampler.stream_length, sampler.shuffle_window)
    own = sorted(starts, key=lambda start: (start > here, abs(start - here)))
    others = [*range(epoch - 1, -1, -1), *range(epoch + 1, epoch + EPOCHS_AHEAD)]
    for number, start in [(epoch, s) for s in own] + [(e, s) for e in others for s in starts]:
        stop = min(start + sampler.shuffle_window, sampler.stream_length)
        segments = sampler.segments(number, stream, start, stop)
        window = [sample for segment in segments for sample in reader.read(segment)]
        if any(map(is_usable, window)):
            return window
        num_undecodable += any(isinstance(sample, EncodedSample) for _, sample in window)
        if num_undecodable == MOST_UNDECODABLE:
            break
    return []


def decode_or_replace(
    window: Window, index: int, geometry: Geometry, out: np.ndarray, has_captions: bool = False
) -> tuple[str, tuple[str, ...], BadSample | None]:
    """Decode a sample into `out`, or else a good neighbour.

    Neighbours before it in the window are tried first, nearest first, then those after it. A bad
    sample never shifts the order, and its replacement depends on the window only. With
    `has_captions` a sample without a caption is bad.

    Returns:
        The sample's own key, the decoded clip's captions, and the BadSample if it was replaced.
    """
    shard, sample = window[index]
    found = try_decode(window[index], geometry, out, has_captions)
    if not isinstance(found, BadSample):
        return sample.key, found, None
    for neighbour in [*range(index - 1, -1, -1), *range(index + 1, len(window))]:
        captions = try_decode(window[neighbour], geometry, out, has_captions)
        if not isinstance(captions, BadSample):
            return sample.key, captions, found
    raise ShardError(f"{shard}: none of {len(window)} samples can be used; first: {found.detail}")


def try_decode(
    item: tuple[str, EncodedSample | BadSample],
    geometry: Geometry,
    out: np.ndarray,
    has_captions: bool,
) -> tuple[str, ...] | BadSample:
    """Decode a sample into `out`; return its captions, or a BadSample."""
    shard, sample = item
    if isinstance(sample, BadSample):
        return sample
    try:
        captions = decode_with_captions(sample, geometry, out=out)[1]
        if has_captions and NO_CAPTION in captions:
            raise ValueError("prompt is empty, but the manifest counts no clips without captions")
        return captions
    except ValueError as error:
        return BadSample(shard, sample.key, "undecodable", str(error))


class ClipLoader:
    """Iterate endlessly over a rank's part of the global batches.

    The first batch is that of `start_step`. A thread reads and decodes ahead, and applies
    `transform`, if given, to each batch. It must be stopped by `close`, or by using the loader in a
    `with` statement.
    """

    def __init__(
        self,
        data: DatasetMixture,
        sampler: MixtureSampler,
        *,
        global_batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        start_step: int = 0,
        num_threads: int = 1,
        verify_checksums: bool = True,
        read_timeout_seconds: float = 300,
        prefetch: int = 4,
        transform: Callable[[Batch], Any] | None = None,
        caption_dropout: float = 0.0,
    ) -> None:
        self.data = data
        self.geometry = data.manifest.geometry
        self.has_captions = NO_CAPTION not in data.manifest.prompts
        self.sampler = sampler
        self.global_batch_size = global_batch_size
        self.caption_dropout = caption_dropout
        self.per_stream = global_batch_size // sampler.num_streams
        per_rank = sampler.num_streams // world_size
        self.streams = range(rank * per_rank, (rank + 1) * per_rank)
        self.step = start_step
        self.num_threads = num_threads
        self.verify_checksums = verify_checksums
        self.read_timeout_seconds = read_timeout_seconds
        self.transform = transform
        self.ready: queue.Queue[Any] = queue.Queue(maxsize=prefetch)
        self.closed = threading.Event()
        self.thread = threading.Thread(target=self._produce, name="clip-loader", daemon=True)
        self.thread.start()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
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
                    if not self._put(self.transform(batch) if self.transform else batch):
                        return
        except BaseException as error:  # raised again in __next__
            self._put(error)

    def _put(self, item: Any) -> bool:
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
            iterate_mixture(self.data, self.sampler, self._is_usable, stream, start, **options)
            for stream in self.streams
        ]
        first = self.streams.start * self.per_stream
        positions = np.arange(first, first + len(streams) * self.per_stream)
        while True:
            items = [item for stream in streams for item in islice(stream, self.per_stream)]
            frames = np.empty((len(items), *self.geometry.shape), np.uint8)
            keys, captions, bad = zip(*self._decode(pool, items, frames), strict=True)
            yield Batch(
                step=self.step,
                frames=frames,
                prompts=draw_captions(
                    captions,
                    positions,
                    seed=self.sampler.seed,
                    step=self.step,
                    num_clips=self.global_batch_size,
                    dropout=self.caption_dropout,
                ),
                keys=list(keys),
                positions=positions,
                bad_samples=[sample for sample in bad if sample is not None],
            )
            self.step += 1

    def _decode(
        self, pool: ThreadPoolExecutor, items: list[tuple[Window, int]], frames: np.ndarray
    ) -> list[tuple[str, tuple[str, ...], BadSample | None]]:
        windows, indexes = zip(*items, strict=True)
        map_samples = map if self.num_threads == 1 else pool.map
        return list(
            map_samples(
                decode_or_replace,
                windows,
                indexes,
                repeat(self.geometry),
                frames,
                repeat(self.has_captions),
            )
        )

    def _is_usable(self, item: tuple[str, EncodedSample | BadSample]) -> bool:
        out = np.empty(self.geometry.shape, np.uint8)
        found = try_decode(item, self.geometry, out, self.has_captions)
        return not isinstance(found, BadSample)
