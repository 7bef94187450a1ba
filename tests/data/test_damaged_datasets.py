"""Test that random damage to shards is found and survived."""

import json
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np

from data_tools.build.destination import Destination
from data_tools.verify_shards import Verifier
from t2vgan.data.dataset import LocalDataset
from t2vgan.data.loader import ClipLoader
from t2vgan.data.mixture import single_dataset
from t2vgan.data.shards import (
    Manifest,
    decode_sample,
    load_manifest,
    read_samples,
)
from t2vgan.errors import UserError
from tests.support.filming import numbers_of
from tests.support.shards import write_dataset

NUM_CORRUPTIONS = 200


def corrupt(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip, cut, overwrite, drop or insert somewhere; never return the same bytes."""
    place, length = int(rng.integers(len(data))), int(rng.integers(1, 600))
    match rng.integers(6):
        case 0:
            damaged = bytearray(data)
            damaged[place] ^= 1 << int(rng.integers(8))
            return bytes(damaged)
        case 1:
            return data[:place]
        case 2:
            return data[:place] + rng.bytes(length) + data[place + length :]
        case 3:
            return data[:place] + data[place + length :]
        case 4:
            return data[:place] + rng.bytes(length) + data[place:]
        case _:
            block = place // 512 * 512
            return data[:block] + bytes(512) + data[block + 512 :]


def read_epoch(folder: Path, manifest: Manifest, *, checked: bool) -> tuple[int, int]:
    """Return the numbers of clips and of bad samples in an epoch."""
    mixture = single_dataset(LocalDataset(folder, manifest))
    sampler = mixture.create_sampler(num_streams=2, shuffle_window=4, seed=0)
    options = {"global_batch_size": 2, "verify_checksums": checked}
    with ClipLoader(mixture, sampler, **options) as loader:
        batches = list(islice(loader, sampler.parts[0].stream_length))
    return sum(len(b.keys) for b in batches), sum(len(b.bad_samples) for b in batches)


def test_every_corruption_is_found_and_none_crashes_the_loader(tmp_path):
    folder = write_dataset(tmp_path / "a", [f"clip {i % 3}" for i in range(12)])
    manifest = load_manifest(folder)
    assert not list(Verifier(Destination(folder), manifest).problems())
    assert read_epoch(folder, manifest, checked=True) == (12, 0)
    rng = np.random.default_rng(0)
    outcomes: Counter[str] = Counter()
    for _ in range(NUM_CORRUPTIONS):
        entry = manifest.shards[int(rng.integers(len(manifest.shards)))]
        shard = folder / entry.name
        whole = shard.read_bytes()
        damaged = corrupt(whole, rng)
        if damaged == whole:
            continue
        shard.write_bytes(damaged)
        assert list(Verifier(Destination(folder), manifest).problems()), "verify finds it"
        assert read_epoch(folder, manifest, checked=True) == (12, entry.num_samples)
        try:  # and without checksums: clips that are counted, or no good one left in a window
            num_clips, num_bad = read_epoch(folder, manifest, checked=False)
            assert num_clips == 12, "the order never shifts"
            outcomes["counted" if num_bad else "harmless"] += 1
        except UserError as error:
            outcomes["refused" if entry.name in str(error) else "unnamed"] += 1
        shard.write_bytes(whole)
    assert not outcomes["unnamed"]
    assert outcomes["counted"] > outcomes["refused"] + outcomes["harmless"], outcomes


def test_metadata_of_the_fuzz_is_real(tmp_path):
    """The fuzz would prove nothing if the intact shards were not read."""
    folder = write_dataset(tmp_path / "a", [f"clip {i % 3}" for i in range(12)])
    manifest = load_manifest(folder)
    for index, entry in enumerate(manifest.shards):
        for place, sample in enumerate(read_samples(folder / entry.name)):
            frames, _ = decode_sample(sample, manifest.geometry)
            assert numbers_of(frames[:1]) == [2 * index + place]
            assert json.loads(sample.members["json"])["fps"] == 5
