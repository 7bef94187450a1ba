"""Pack small films, and read what was packed."""

import subprocess
from pathlib import Path

import numpy as np

from data_tools.videos.keys import parse_key
from t2vgan.data.shards import decode_sample, load_manifest, read_samples
from tests.support.data_commands import run
from tests.support.filming import Film, numbers_of

SMALL = ["--num-frames", "4", "--fps", "5", "--size", "32x32", "--rows-per-shard", "2"]
FAST = Film("mpeg4", options={"qmin": "1", "qmax": "2"})


def pack(
    source: object, out: Path, *options: object, workers: int = 1
) -> subprocess.CompletedProcess:
    lenient = ["--max-bad-fraction", "0.5", "--workers", workers]
    return run("pack_videos", source, "--out", out, *SMALL, *lenient, *options)


def contents(folder: Path) -> dict[int, str]:
    """Return row -> prompt of a packed folder, reading every clip."""
    manifest = load_manifest(folder)
    found = {}
    for entry in manifest.shards:
        for sample in read_samples(folder / entry.name):
            frames, prompt = decode_sample(sample, manifest.geometry)
            assert np.abs(np.subtract(numbers_of(frames), [0, 2, 4, 6])).max() == 0
            found[parse_key(sample.key)[0]] = prompt
    return found
