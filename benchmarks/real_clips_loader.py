"""Compare loading of packed real clips with other libraries.

Run `python -m benchmarks.real_clips_loader`. The same clips (16x64x64, as JPEG strips and as H.264)
are decoded in batches of the same size by the same function on one core, in turns: from memory, by
our loader, by plain webdataset, and by litdata and mosaicml-streaming if they are installed (extra
`benchmarks`), each from shards in its own format. All shuffle; only ours is exact, elastic,
verifies checksums and reads plain tars. Ours stays open between turns, as in training. Each of its
turns ends when its read-ahead is full again, so that it decodes as many clips per turn as the
others.
"""

import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import webdataset

from benchmarks.films import write_film, write_list
from benchmarks.measure import benchmark, print_summary, run_turns, summarise
from benchmarks.record import write_record
from data_tools.build.destination import Destination
from data_tools.build.runner import complete
from data_tools.pack_videos import PackOptions, make_plan
from t2vgan.data.dataset import LocalDataset
from t2vgan.data.loader import ClipLoader
from t2vgan.data.manifest import Geometry, load_manifest
from t2vgan.data.mixture import DatasetMixture, single_dataset
from t2vgan.data.shards import EncodedSample, Storage, decode_sample

BATCH_SIZE = 16
NUM_STREAMS = 8
NUM_FILMS = 8
EXTENSIONS: dict[Storage, str] = {"strip-jpg": "jpg", "mp4": "mp4"}

Ways = dict[str, Callable[[], int]]


def run(num_clips: int = 1600, turns: int = 7) -> None:
    """Time all readers turn by turn for both storages; print and record.

    Args:
        num_clips: Clips read per turn; a multiple of 16.
        turns: Turns of each way; medians of rates and of the turns' ratios are reported.
    """
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    content: dict[str, Any] = {"num_clips": num_clips}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(NUM_FILMS):
            write_film(folder / f"{number}.mp4", number, seconds=2, size="320x240")
        write_list(folder, num_clips)
        for storage, extension in EXTENSIONS.items():
            data = pack(folder, storage, num_clips)
            with (
                open(os.devnull, "w") as silence,
                redirect_stdout(silence),
                redirect_stderr(silence),
            ):
                ways = ways_of(data, extension, folder / f"{storage}-others")
                found = {way: read() for way, read in ways.items()}  # also warms up
            assert set(found.values()) == {num_clips}, found
            summary = summarise(run_turns(ways, turns), num_clips)
            print_summary(f"{storage}: clips/s on one core", summary)
            content[f"{storage.replace('-', '_')}_clips_per_second"] = summary
    print(f"wrote {write_record('real_clips_loader', content)}")


def pack(folder: Path, storage: Storage, num_clips: int) -> DatasetMixture:
    """Pack the films like the command, with two shards per stream."""
    rows = num_clips // (2 * NUM_STREAMS)
    options = PackOptions(source=str(folder), out="", storage=storage, rows_per_shard=rows)
    out = folder / storage
    complete(make_plan(options), Destination(out), num_workers=1)
    return single_dataset(LocalDataset(out, load_manifest(out)))


def ways_of(data: DatasetMixture, extension: str, folder: Path) -> Ways:
    """Return the readers, each with its own copy of the clips."""
    (dataset,) = data.parts
    geometry = data.manifest.geometry
    samples = [sample for _, sample in dataset.iter_samples()]
    order = data.create_sampler(num_streams=NUM_STREAMS, shuffle_window=256, seed=0)
    loader = ClipLoader(data, order, global_batch_size=BATCH_SIZE)
    urls = [dataset.shard_path(shard) for shard in range(len(data.manifest.shards))]
    ways: Ways = {
        "pure decode, from memory": partial(decode_all, samples, geometry),
        "ClipLoader": partial(clip_loader, loader, data.manifest.num_samples),
        "plain webdataset": partial(plain_webdataset, urls, extension, geometry),
    }
    if importlib.util.find_spec("litdata"):
        ways["litdata"] = litdata_reader(samples, extension, folder / "litdata", geometry)
    if importlib.util.find_spec("streaming"):
        ways["mosaicml-streaming"] = mosaic_reader(samples, extension, folder / "mds", geometry)
    return ways


def decode_all(samples: list[EncodedSample], geometry: Geometry) -> int:
    """Decode clips from memory into one batch repeatedly."""
    frames = np.empty((BATCH_SIZE, *geometry.shape), np.uint8)
    for sample, out in zip(samples, cycle(frames), strict=False):
        decode_sample(sample, geometry, out=out)
    return len(samples)


def clip_loader(loader: ClipLoader, num_clips: int) -> int:
    """Read batches as in training."""
    found = sum(len(batch.keys) for batch in islice(loader, num_clips // BATCH_SIZE))
    while not loader.ready.full():
        time.sleep(0.001)
    return found


def plain_webdataset(urls: list[str], extension: str, geometry: Geometry) -> int:
    """Read the same shards as webdataset's documentation does."""
    dataset = webdataset.WebDataset(urls, shardshuffle=False).shuffle(256)
    return count(dataset, extension, geometry)


def litdata_reader(
    samples: list[EncodedSample], extension: str, folder: Path, geometry: Geometry
) -> Callable[[], int]:
    """Write the clips with litdata and return a reader of them."""
    import litdata

    litdata.optimize(
        fn=dict,
        inputs=[sample.members for sample in samples],
        output_dir=str(folder),
        chunk_bytes="64MB",
        num_workers=1,
        verbose=False,
    )

    def read() -> int:
        return count(litdata.StreamingDataset(str(folder), shuffle=True), extension, geometry)

    return read


def mosaic_reader(
    samples: list[EncodedSample], extension: str, folder: Path, geometry: Geometry
) -> Callable[[], int]:
    """Write the clips with mosaicml-streaming and return a reader of them."""
    import streaming

    columns = dict.fromkeys(("txt", "json", extension), "bytes")
    with streaming.MDSWriter(out=str(folder), columns=columns) as writer:
        for sample in samples:
            writer.write(dict(sample.members))

    def read() -> int:
        streaming.base.util.clean_stale_shared_memory()
        dataset = streaming.StreamingDataset(local=str(folder), shuffle=True, batch_size=BATCH_SIZE)
        return count(dataset, extension, geometry)

    return read


def count(members: Any, extension: str, geometry: Geometry) -> int:
    """Decode samples (extension -> bytes) into batches, and count the clips."""

    def decoded() -> Iterator[np.ndarray]:
        for found in members:
            sample = EncodedSample("", {extension: found[extension], "txt": found["txt"]})
            yield decode_sample(sample, geometry)[0]

    clips, total = decoded(), 0
    while batch := list(islice(clips, BATCH_SIZE)):
        total += len(np.stack(batch))
    return total


if __name__ == "__main__":
    benchmark(run)
