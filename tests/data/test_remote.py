"""Test that object storage gives the same batches as a folder.

Whatever goes wrong.
"""

import fcntl
import json
import ssl
import threading
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from t2vgan.config import DataConfig
from t2vgan.data import remote
from t2vgan.data.dataset import LocalDataset, ShardedDataset, open_dataset
from t2vgan.data.loader import ClipLoader
from t2vgan.data.mixture import single_dataset
from t2vgan.data.sampler import Segment
from t2vgan.data.shard_cache import ShardCache
from t2vgan.data.shard_reader import BadSample, ShardReader
from t2vgan.data.shards import load_manifest
from t2vgan.errors import UserError
from t2vgan.utils.urls import as_location
from tests.support.numbered_shards import write_sound
from tests.support.object_storage import BUCKET, client, put_folder


def batches(
    dataset: ShardedDataset, *, start_step: int = 0, world_size: int = 1, **options
) -> list:
    """Return two epochs of global batches: keys, frames, prompts and bad samples."""
    data = single_dataset(dataset)
    sampler = data.create_sampler(num_streams=2, shuffle_window=5, seed=3)
    parts = []
    for rank in range(world_size):
        with ClipLoader(
            data, sampler, global_batch_size=4, rank=rank, world_size=world_size,
            start_step=start_step, **options,
        ) as loader:  # fmt: skip
            parts.append(list(islice(loader, 20 - start_step)))
    return [
        (
            [key for part in step for key in part.keys],
            np.concatenate([part.frames for part in step]).tobytes(),
            [prompt for part in step for prompt in part.prompts],
            [bad for part in step for bad in part.bad_samples],
        )
        for step in zip(*parts, strict=True)
    ]


def local(folder: Path) -> LocalDataset:
    return LocalDataset(folder, load_manifest(folder))


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    return write_sound(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def url(storage, sound) -> str:
    return put_folder(storage, sound, "sound")


@pytest.fixture
def cache(tmp_path) -> ShardCache:
    return ShardCache(tmp_path / "cache")


def test_faults_change_nothing(storage, sound, url, cache, tmp_path):
    expected = batches(local(sound))
    number = iter(range(10**6))
    kinds = ["busy", "cut", None, "slow", "busy", "busy", "cut"]
    storage.fault = lambda method, path: kinds[next(number) % len(kinds)]
    assert batches(open_dataset(url, cache)) == expected
    assert storage.faults.keys() == {"busy", "cut", "slow"}
    storage.fault = lambda method, path: None
    for start, world_size in [(3, 1), (0, 2), (11, 2)]:
        fresh = ShardCache(tmp_path / f"{start}-{world_size}")
        found = batches(open_dataset(url, fresh), start_step=start, world_size=world_size)
        assert found == expected[start:]


def test_a_shard_is_downloaded_once(storage, sound, url, cache):
    for _ in range(2):
        batches(open_dataset(url, cache))
    shards = {path: n for (method, path), n in storage.requests.items() if path.endswith(".tar")
              and method == "GET"}  # fmt: skip
    assert set(shards.values()) == {1}
    assert len(shards) == 4


def test_a_small_cache_stays_small_and_changes_nothing(storage, sound, url, tmp_path):
    sizes = [entry.num_bytes for entry in load_manifest(sound).shards]
    limit = max(sizes) * 1.5
    cache, largest, stop = ShardCache(tmp_path, limit / 1e9), 0, threading.Event()

    def watch() -> None:
        nonlocal largest
        while not stop.is_set():
            largest = max(largest, size_of(tmp_path))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert batches(open_dataset(url, cache)) == batches(local(sound))
    finally:
        stop.set()
        watcher.join()
    assert 0 < largest <= limit
    with pytest.raises(
        UserError,
        match=r"data.cache_gigabytes=1e-06 must be at least the size of a shard, but s-0.tar",
    ):
        open_dataset(url, ShardCache(tmp_path / "tiny", 1e-6)).open(0, verify=True)


def size_of(cache: Path) -> int:
    """Return a cache's size in bytes; its lock prevents eviction meanwhile."""
    sizes = {}  # by inode: a download that is finished while we look has two names
    with open(cache / ".lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for path in cache.iterdir():
            with suppress(FileNotFoundError):
                status = path.stat()
                sizes[status.st_ino] = status.st_size
    return sum(sizes.values())


def test_the_least_recently_used_shard_goes(storage, sound, url, tmp_path):
    entries = load_manifest(sound).shards
    room = sum(entry.num_bytes for entry in entries[:3])
    dataset = open_dataset(url, ShardCache(tmp_path, room / 1e9))
    for shard in (0, 1, 2, 0, 3):  # 1 was not used for longest
        dataset.open(shard, verify=True).close()
        time.sleep(0.01)
    assert {path.stem for path in tmp_path.glob("*.tar")} == {entries[i].sha256 for i in (0, 2, 3)}


def test_an_open_shard_outlives_its_eviction(storage, sound, url, cache):
    reader = ShardReader(open_dataset(url, cache))
    first = reader.read(Segment(0, 0, 3))
    for path in cache.path.glob("*.tar"):
        path.unlink()
    rest = reader.read(Segment(0, 3, 7))
    assert [sample.key for _, sample in first + rest] == [f"{i:04d}" for i in range(10)]


def test_a_spoilt_file_of_the_cache_is_fetched_again(storage, sound, url, cache):
    dataset = open_dataset(url, cache)
    dataset.open(0, verify=True).close()
    (path,) = cache.path.glob("*.tar")
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    assert len(list(dataset.iter_samples())) == 40
    assert dataset.open(0, verify=True).read() == (sound / "s-0.tar").read_bytes()


def spoil(storage, **change) -> None:
    client(storage).put_object(Bucket=BUCKET, Key="sound/s-0.tar", **change)


def test_damage_far_away_is_counted_by_reason(storage, sound, url, tmp_path):
    content = (sound / "s-0.tar").read_bytes()
    dataset = open_dataset(url, ShardCache(tmp_path))
    cases = {"changed": bytes([content[0] ^ 1]) + content[1:], "truncated": content[:-1024]}
    for reason, body in cases.items():
        spoil(storage, Body=body)
        (_, bad), *_ = ShardReader(dataset).read(Segment(0, 0, 2))
        assert isinstance(bad, BadSample)
        assert bad.reason == reason
        assert f"{url}/s-0.tar" in bad.detail
    client(storage).delete_object(Bucket=BUCKET, Key="sound/s-0.tar")
    (_, bad), *_ = ShardReader(dataset).read(Segment(0, 0, 2))
    assert (bad.reason, bad.detail) == ("missing", f"{url}/s-0.tar: No such file")
    assert not list(tmp_path.glob("*.tar")), "nothing of it is kept"
    with pytest.raises(UserError, match=r"s3://clips/sound/s-0.tar is missing; the manifest"):
        open_dataset(url)


@pytest.mark.parametrize(
    ("location", "text"),
    [("data/circles", "data/circles"), ("/a:/b", "/a:/b"), (Path("data") / "x", "data/x"),
     ("s3://b/x", "s3://b/x"), (Path("s3://b/x"), "s3://b/x"), ("S3:/b/x", "s3://b/x")],
)  # fmt: skip
def test_a_location_is_a_path_or_a_url(location, text):
    assert as_location(location) == text


@pytest.mark.parametrize("location", ["file:///x", Path("memory://x"), "ftp://h/x", "s3://a::b"])
def test_urls_of_other_kinds_are_no_paths(location):
    with pytest.raises(UserError, match=rf"{location}: give a folder's path, or a URL of http://,"):
        open_dataset(location)
    with pytest.raises(ValidationError, match="give a folder's path"):
        DataConfig(path=location)


def test_what_is_wrong_with_a_url_is_said(storage, url, monkeypatch):
    with pytest.raises(UserError, match=r"s3://clips/nowhere has no manifest.json; give the URL"):
        open_dataset("s3://clips/nowhere")
    monkeypatch.setattr(remote, "FIRST_WAIT_SECONDS", 0.0)
    for busy, said in (("HEAD", "Service Unavailable"), ("GET", "Please reduce your rate")):
        storage.fault = lambda method, path, busy=busy: "busy" if method == busy else None
        with pytest.raises(
            OSError, match=rf"{url}/manifest.json: 7 attempts failed; last: .*{said}"
        ):
            open_dataset(url)


def test_a_read_that_takes_too_long_costs_its_shard_only(storage, sound, url, cache):
    dataset = open_dataset(url, cache)
    storage.fault = lambda method, path: "stalled" if path.endswith("s-0.tar") else None
    reader = ShardReader(dataset, timeout_seconds=0.5)
    (_, bad), *_ = reader.read(Segment(0, 0, 2))
    assert bad.reason == "stalled"
    assert "s-0.tar: a read took longer than 0.5 s" in bad.detail
    storage.fault = lambda method, path: None
    reader.timeout_seconds = 60  # on a busy machine a sound read takes a while too
    assert not isinstance(reader.read(Segment(1, 0, 1))[0][1], BadSample)


@pytest.mark.parametrize(
    ("error", "num_calls", "raised"),
    [
        (ValueError("no such scheme"), 1, UserError),
        (json.JSONDecodeError("half an answer", "{", 1), 3, OSError),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "cut off"), 3, OSError),
        (ssl.SSLCertVerificationError("clock is wrong"), 3, OSError),
    ],
)
def test_what_a_connection_gets_wrong_is_tried_again(error, num_calls, raised, monkeypatch):
    monkeypatch.setattr(remote, "FIRST_WAIT_SECONDS", 0.0)
    calls = []

    def request():
        calls.append(1)
        raise error

    with pytest.raises(raised):
        remote.retry("s3://bucket/name", request, attempts=3)
    assert len(calls) == num_calls
