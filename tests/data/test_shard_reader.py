"""Every kind of damage is counted by its reason, and shifts nothing."""

import os
import shutil
import tempfile
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from t2vgan.data.dataset import LocalDataset
from t2vgan.data.loader import ClipLoader
from t2vgan.data.mixture import single_dataset
from t2vgan.data.sampler import Segment
from t2vgan.data.shard_reader import BadSample, ShardReader
from t2vgan.data.shards import EncodedSample, Manifest
from tests.support.numbered_shards import NUM_EACH, write_sound


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return write_sound(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def data(sound):
    """Copy the data to a folder that every user may enter.

    Unlike pytest's own.
    """
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(sound, folder, dirs_exist_ok=True)
        os.chmod(folder, 0o755)
        yield Path(folder)


def load(folder: Path) -> Manifest:
    return Manifest.model_validate_json((folder / "manifest.json").read_text())


def cut_between_members(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 512 * 512)


def cut_inside_a_member(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2 // 512 * 512 + 600)


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


def replace(path: Path) -> None:
    shutil.copy(path.with_name("s-1.tar"), path)


def lengthen(path: Path) -> None:
    path.write_bytes(path.read_bytes() + bytes(512))


def name_of(value: object) -> str:
    return getattr(value, "__name__", str(value))


DAMAGES = {
    cut_between_members: "truncated",
    cut_inside_a_member: "truncated",
    flip_a_bit: "changed",
    replace: "changed",
    lengthen: "changed",
    Path.unlink: "missing",
}


@pytest.mark.parametrize(("damage", "reason"), DAMAGES.items(), ids=name_of)
@pytest.mark.parametrize("already_open", [False, True])
def test_damage_is_counted_by_reason(damage: Callable, reason, already_open, data):
    manifest = load(data)
    reader = ShardReader(LocalDataset(data, manifest))
    if already_open:
        assert len(reader.read(Segment(0, 0, 3))) == 3
    damage(data / "s-0.tar")
    window = reader.read(Segment(0, 3, 5))
    assert [name for name, _ in window] == ["s-0.tar"] * 5
    for place, (_, bad) in enumerate(window, start=3):
        assert isinstance(bad, BadSample)
        assert (bad.key, bad.reason) == (f"#{place}", reason)
        assert "s-0.tar" in bad.detail
    assert all(isinstance(s, EncodedSample) for _, s in reader.read(Segment(1, 0, 10)))


def test_permission_denied(data):
    os.chmod(data / "s-0.tar", 0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # nobody: root may read everything
    try:
        (_, bad), *_ = ShardReader(LocalDataset(data, load(data))).read(Segment(0, 0, 2))
    finally:
        os.seteuid(user)
    assert bad.reason == "permission denied"


def test_a_read_that_never_returns_costs_its_shard_only(data):
    """Opening a named pipe that nobody writes to blocks for ever."""
    os.unlink(data / "s-0.tar")
    os.mkfifo(data / "s-0.tar")
    manifest = load(data)
    entries = (manifest.shards[0].model_copy(update={"num_bytes": 0}), *manifest.shards[1:])
    manifest = manifest.model_copy(update={"shards": entries})  # a pipe's size is 0
    reader = ShardReader(LocalDataset(data, manifest), verify=False, timeout_seconds=0.2)
    (_, bad), *_ = reader.read(Segment(0, 0, 2))
    assert bad.reason == "stalled"
    assert "s-0.tar: a read took longer than 0.2 s" in bad.detail
    assert isinstance(reader.read(Segment(1, 0, 1))[0][1], EncodedSample)


def batches(folder: Path, count: int, start_step: int = 0, world_size: int = 1) -> list:
    data = single_dataset(LocalDataset(folder, load(folder)))
    sampler = data.create_sampler(num_streams=2, shuffle_window=5, seed=3)
    parts = []
    for rank in range(world_size):
        with ClipLoader(
            data, sampler, global_batch_size=4, rank=rank, world_size=world_size,
            start_step=start_step,
        ) as loader:  # fmt: skip
            parts.append(list(islice(loader, count)))
    return [
        (
            [key for part in step for key in part.keys],
            np.concatenate([part.frames for part in step]),
            [prompt for part in step for prompt in part.prompts],
            [bad for part in step for bad in part.bad_samples],
        )
        for step in zip(*parts, strict=True)
    ]


def test_a_lost_shard_shifts_nothing_for_any_world_size_and_start(sound, data):
    """In an epoch of ten steps each lost sample is replaced once."""
    os.unlink(data / "s-2.tar")
    whole, lost = batches(sound, 10), batches(data, 10)
    for (_, frames, prompts, none), (_, seen, seen_prompts, bad) in zip(whole, lost, strict=True):
        assert none == []
        kept = [i for i, prompt in enumerate(prompts) if not 20 <= int(prompt.split()[1]) < 30]
        assert len(kept) == 4 - len(bad)
        for i in kept:
            assert seen_prompts[i] == prompts[i]
            assert (seen[i] == frames[i]).all()
        for i in range(4):  # frames and prompt of a replacement belong together
            assert (seen[i] == int(seen_prompts[i].split()[1])).all()
    assert sum(len(bad) for *_, bad in lost) == NUM_EACH
    for start, world_size in [(0, 2), (3, 1), (6, 2)]:
        again = batches(data, 10 - start, start_step=start, world_size=world_size)
        for expected, found in zip(lost[start:], again, strict=True):
            assert found[2] == expected[2]
            assert (found[1] == expected[1]).all()


def test_a_shard_that_failed_is_not_fetched_again():
    fetched: list[int] = []
    reader = ShardReader(Mock(prefetch=fetched.append))
    reader.damaged[1] = ("missing", "No such file")
    for shard in (0, 1):
        reader.prefetch(Segment(shard, 0, 1))
    assert fetched == [0]
