"""The cache of shards among several processes, and after one that was killed."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from t2vgan.data.dataset import open_dataset
from t2vgan.data.shard_cache import ShardCache, remove_abandoned
from t2vgan.data.shards import load_manifest
from tests.support.numbered_shards import write_sound
from tests.support.object_storage import put_folder

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return write_sound(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def url(storage, sound) -> str:
    return put_folder(storage, sound, "sound")


def read_all(url: str, folder: Path) -> None:
    dataset = open_dataset(url, ShardCache(folder))
    assert len(list(dataset.iter_samples())) == 40


def test_processes_share_a_cache(storage, sound, url, tmp_path):
    slow = iter(["slow"] * 8)  # so that they meet
    storage.fault = lambda method, path: next(slow, None)
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=read_all, args=(url, tmp_path)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(300)
        assert process.exitcode == 0
    gets = [n for (method, path), n in storage.requests.items()
            if method == "GET" and path.endswith(".tar")]  # fmt: skip
    assert gets == [1, 1, 1, 1]
    assert not list(tmp_path.glob(".tmp-*"))


def test_a_killed_download_leaves_nothing_that_counts(storage, sound, url, tmp_path):
    storage.fault = lambda method, path: "stalled" if path.endswith("s-2.tar") else None
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=read_all, args=(url, tmp_path))
    process.start()
    entries = load_manifest(sound).shards
    deadline = time.monotonic() + 300
    while not (tmp_path / f"{entries[1].sha256}.tar").exists() or not list(tmp_path.glob(".tmp*")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert {path.stem for path in tmp_path.glob("*.tar")} == {e.sha256 for e in entries[:2]}
    assert list(tmp_path.glob(".tmp-*"))
    remove_abandoned(tmp_path)
    assert not list(tmp_path.glob(".tmp-*"))
    storage.fault = lambda method, path: None
    read_all(url, tmp_path)
