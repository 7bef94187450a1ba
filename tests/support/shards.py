"""Small samples and manifests, for tests of shards."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from t2vgan.data.sampler import StreamSampler
from t2vgan.data.shards import (
    EncodedSample,
    Geometry,
    Manifest,
    ShardEntry,
    encode_sample,
    load_manifest,
    read_samples,
    write_manifest,
    write_shard,
)

GEOMETRY = Geometry(num_frames=3, height=5, width=7)
CLIP_GEOMETRY = Geometry(num_frames=4, height=24, width=32)


def noise(geometry: Geometry = GEOMETRY, seed: int = 0) -> np.ndarray:
    shape = (geometry.num_frames, geometry.height, geometry.width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def small_samples(num_samples: int = 4) -> list[EncodedSample]:
    return [
        encode_sample(f"{i:04d}", noise(seed=i), f"prompt {i}", {"fps": 10.0, "number": i})
        for i in range(num_samples)
    ]


def make_manifest(*entries: ShardEntry, **changes: Any) -> Manifest:
    """Return a manifest of shards, with other fields where they are given."""
    fields = {
        "builder": "test",
        "builder_version": "1",
        "builder_config": {"seed": 0},
        "builder_fingerprint": "0" * 64,
        "geometry": GEOMETRY,
        "fps": 10.0,
        "shards": entries,
        "prompts": {"a prompt": sum(entry.num_samples for entry in entries)},
    }
    return Manifest(**fields | changes)


def write_dataset(
    folder: Path,
    prompts: list[str],
    *,
    key: str = "k",
    levels: tuple[int, ...] = (),
    **metadata_of_clips: object,
) -> Path:
    """Write a dataset of two clips a shard.

    Clip i has brightness 10 * i + 20.
    """
    entries = []
    for first in range(0, len(prompts), 2):
        samples = []
        for i in range(first, min(first + 2, len(prompts))):
            level = levels[i] if levels else 10 * i + 20
            frames = np.full(CLIP_GEOMETRY.shape, level, np.uint8)
            metadata = {"fps": 5, **{name: value[i] for name, value in metadata_of_clips.items()}}
            samples.append(encode_sample(f"{key}{i}", frames, prompts[i], metadata))
        entries.append(write_shard(folder / f"set-{first:03d}.tar", samples))
    counts = dict(Counter(prompts))
    write_manifest(folder, make_manifest(*entries, geometry=CLIP_GEOMETRY, fps=5, prompts=counts))
    return folder


def clips_in(folder: Path) -> list[tuple[str, bytes]]:
    """Return (prompt, picture) of every clip, in order."""
    samples = (s for e in load_manifest(folder).shards for s in read_samples(folder / e.name))
    return [(s.members["txt"].decode(), s.members["webp"]) for s in samples]


def locate(sampler: StreamSampler, stream: int, position: int) -> tuple[int, int]:
    """Return (shard, index in the shard) of one sample."""
    segments, order, already = next(sampler.windows(stream, position))
    places = [(s.shard, s.first + index) for s in segments for index in range(s.count)]
    return places[order[already]]
