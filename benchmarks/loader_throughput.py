"""Compare the loader with pure decoding and plain webdataset, on one core.

`python -m benchmarks.loader_throughput`. Every way decodes the same lossless film strips to frames
(10, 64, 64, 3), in turns, in one process bound to one core.
"""

import os
import tempfile
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
import webdataset

from benchmarks.clips import write_clips
from benchmarks.measure import benchmark, print_summary, run_turns, summarise
from benchmarks.record import write_record
from t2vgan.data.dataset import LocalDataset
from t2vgan.data.loader import ClipLoader
from t2vgan.data.manifest import Manifest, load_manifest
from t2vgan.data.mixture import single_dataset
from t2vgan.data.shards import decode_strip, read_samples

BATCH_SIZE = 16
NUM_STREAMS = 8


def run(num_clips: int = 8000, turns: int = 7) -> None:
    """Time all readers in turns; print and record the results.

    Args:
        num_clips: Clips of 10x64x64 read per turn.
        turns: Turns of each way; medians of rates and of the turns' ratios are reported.
    """
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips_per_shard = min(500, num_clips // NUM_STREAMS)
        write_clips(
            folder, "circles", "64x64", num_clips=num_clips, clips_per_shard=clips_per_shard
        )
        manifest = load_manifest(folder)
        strips = [
            sample.members["webp"]
            for shard in manifest.shards
            for sample in read_samples(folder / shard.name)
        ]
        ways = {
            "pure decode, from memory": lambda: decode_only(strips, manifest),
            "ClipLoader": lambda: clip_loader(folder, manifest, num_clips),
            "plain webdataset": lambda: plain_webdataset(folder, manifest),
        }
        summary = summarise(run_turns(ways, turns), num_clips)
    print_summary("clips/s on one core", summary)
    record = {"num_clips": num_clips, "clips_per_second": summary}
    print(f"wrote {write_record('loader_throughput', record)}")


def decode_only(strips: list[bytes], manifest: Manifest) -> int:
    """Decode strips from memory into one batch repeatedly."""
    frames = np.empty((BATCH_SIZE, *manifest.geometry.shape), np.uint8)
    for strip, out in zip(strips, cycle(frames), strict=False):
        decode_strip(strip, manifest.geometry, out=out)
    return len(strips)


def clip_loader(folder: Path, manifest: Manifest, num_clips: int) -> int:
    """Read batches as training does: exact order, checksums, prompts, frames."""
    data = single_dataset(LocalDataset(folder, manifest))
    order = data.create_sampler(num_streams=NUM_STREAMS, shuffle_window=256, seed=0)
    with ClipLoader(data, order, global_batch_size=BATCH_SIZE) as loader:
        return sum(len(batch.keys) for batch in islice(loader, num_clips // BATCH_SIZE))


def plain_webdataset(folder: Path, manifest: Manifest) -> int:
    """Read the same shards as webdataset's documentation does, with the same decoder."""

    def decode(sample: dict) -> tuple[np.ndarray, str]:
        return decode_strip(sample["webp"], manifest.geometry), sample["txt"].decode()

    urls = [str(folder / shard.name) for shard in manifest.shards]
    dataset = webdataset.WebDataset(urls, shardshuffle=False).shuffle(256).map(decode)
    return sum(len(batch) for batch in batched(iter(dataset)))


def batched(samples: Iterator[tuple[np.ndarray, str]]) -> Iterator[np.ndarray]:
    while batch := list(islice(samples, BATCH_SIZE)):
        yield np.stack([frames for frames, _ in batch])


if __name__ == "__main__":
    benchmark(run)
