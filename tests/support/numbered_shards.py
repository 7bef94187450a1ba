"""Tiny shards whose samples are numbered from 0: frames, keys and prompts."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from t2vgan.data.shards import (
    EncodedSample,
    Geometry,
    Manifest,
    ShardEntry,
    encode_sample,
    write_manifest,
    write_shard,
)
from tests.support.shards import make_manifest

GEOMETRY = Geometry(num_frames=2, height=4, width=6)
NUM_SHARDS, NUM_EACH = 4, 10


def sample(index: int) -> EncodedSample:
    frames = np.full(GEOMETRY.shape, index, dtype=np.uint8)
    return encode_sample(f"{index:04d}", frames, f"prompt {index}", {"index": index})


def write_shards(folder: Path, counts: Sequence[int]) -> Manifest:
    """Write shards of so many samples each, and their manifest."""
    edges = np.cumsum([0, *counts]).tolist()
    entries = tuple(
        write_shard(folder / f"s-{number}.tar", map(sample, range(start, stop)))
        for number, (start, stop) in enumerate(pairwise(edges))
    )
    return save_manifest(folder, entries)


def write_sound(folder: Path) -> Path:
    """Write four whole shards of ten samples."""
    write_shards(folder, [NUM_EACH] * NUM_SHARDS)
    return folder


def save_manifest(folder: Path, entries: Sequence[ShardEntry]) -> Manifest:
    prompts = {f"prompt {i}": 1 for i in range(sum(entry.num_samples for entry in entries))}
    manifest = make_manifest(*entries, geometry=GEOMETRY, prompts=prompts)
    write_manifest(folder, manifest)
    return manifest
