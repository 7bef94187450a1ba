"""Files in folders that others write to: whole or absent, and never through a link."""

import errno
import hashlib
import os
import resource
import signal
import stat
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from t2vgan.checkpoint.state_dict import save_checkpoint
from t2vgan.checkpoint.tensor_files import write_tensors
from t2vgan.data.manifest import ShardEntry
from t2vgan.data.shard_cache import ShardCache
from t2vgan.distributed.heartbeat import Heartbeat, heartbeat_path
from t2vgan.media import save_clip
from t2vgan.tracking.metrics_log import JsonlLogger
from t2vgan.training.run_lock import locked
from t2vgan.utils.files import (
    NotPlainFileError,
    atomic_path,
    atomic_write_bytes,
    open_plain,
    remove_temporary_files,
    replace_file,
)

PRECIOUS = b"somebody's own file"


@pytest.fixture
def precious(tmp_path) -> Path:
    """A file that nothing here may change."""
    path = tmp_path / "precious"
    path.write_bytes(PRECIOUS)
    before = path.stat()
    yield path
    assert path.read_bytes() == PRECIOUS
    assert path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.fixture
def folder(tmp_path) -> Path:
    path = tmp_path / "shared"
    path.mkdir()
    return path


@pytest.fixture(params=[0o077, 0o022, 0o002])
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# --- modes ----------------------------------------------------------------------------------------


def test_every_file_of_a_run_obeys_the_umask(umask, folder):
    atomic_write_bytes(folder / "config.json", b"{}")
    replace_file(folder / "heartbeat.json", "{}")
    with atomic_path(folder / "weights.safetensors") as temporary:
        write_tensors(temporary, {"a": torch.zeros(2)}, {})
    save_clip(folder / "clip.gif", np.zeros((2, 8, 8, 3), np.uint8), fps=5)
    save_checkpoint(
        folder, 3, {"generator.safetensors": {"a": torch.zeros(2)}}, {"step": 3}, keep=2, protect=()
    )
    log = JsonlLogger(folder)
    log.write("event", step=0, clips_seen=0, seconds=0)
    log.close()
    with locked(folder):
        pass
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) >= 8
    assert {mode(path) for path in files} == {0o666 & ~umask}
    folders = [path for path in folder.rglob("*") if path.is_dir()]
    assert {mode(path) for path in folders} == {0o777 & ~umask}


def test_a_cached_shard_obeys_the_umask(umask, folder):
    cache = ShardCache(folder)
    with cache.open(entry(), download):
        pass
    assert {mode(path) for path in folder.iterdir()} == {0o666 & ~umask}


# --- full disks ---


@pytest.mark.parametrize("write", [atomic_write_bytes, replace_file])
def test_a_full_disk_is_reported_with_the_files_name(write, folder):
    path, limits = folder / "a.txt", resource.getrlimit(resource.RLIMIT_FSIZE)
    data = "x" * 4096 if write is replace_file else b"x" * 4096
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails with EFBIG
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            write(path, data)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.filename == str(path)
    assert list(folder.iterdir()) == []


def test_an_error_names_the_file_instead_of_the_temporary_one(folder):
    (folder / "a.txt").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        atomic_write_bytes(folder / "a.txt", b"x")
    assert (caught.value.filename, caught.value.filename2) == (str(folder / "a.txt"), None)


# --- links ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["precious", "nowhere"])
def test_a_lock_that_is_a_link_is_refused(target, folder, precious):
    (folder / ".lock").symlink_to(precious.with_name(target))
    with pytest.raises(OSError, match=r"link.*move it away"), locked(folder, timeout_seconds=0):
        pass
    assert not precious.with_name("nowhere").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_lock_that_is_no_file_is_refused(make, folder):
    make(folder / ".lock")
    with pytest.raises(NotPlainFileError), locked(folder, timeout_seconds=0):
        pass


def test_a_log_that_is_a_link_is_refused(folder, precious):
    (folder / "metrics.jsonl").symlink_to(precious)
    log = JsonlLogger(folder)
    with pytest.raises(NotPlainFileError, match=r"metrics.jsonl"):
        log.open()


@pytest.mark.parametrize("name", [".tmp-rank_00000.json", "rank_00000.json"])
def test_a_heartbeat_does_not_follow_links(name, folder, precious):
    path = heartbeat_path(folder, 0)
    path.parent.mkdir()
    (path.parent / name).symlink_to(precious)
    beat = Heartbeat(folder, rank=0, world_size=1)
    beat._write(0.0)
    assert b'"step": 0' in path.read_bytes()
    assert not path.is_symlink()


def test_temporary_names_are_never_the_same(folder, precious):
    names = set()
    for _ in range(20):
        with atomic_path(folder / "file.txt") as temporary:
            names.add(temporary.name)
    assert len(names) == 20


def test_leftovers_are_removed_and_what_links_lead_to_is_not(folder, precious):
    (folder / ".tmp-link").symlink_to(precious)
    (folder / ".tmp-folder-link").symlink_to(precious.parent)
    (folder / ".tmp-file").write_text("of a killed writer")
    remove_temporary_files(folder)
    assert list(folder.iterdir()) == []


def test_only_plain_files_are_opened(folder, precious):
    (folder / "link").symlink_to(precious)
    os.mkfifo(folder / "pipe")
    (folder / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        for flags in (os.O_RDONLY, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_CREAT):
            with pytest.raises(NotPlainFileError, match=name):
                open_plain(folder / name, flags)


# --- the cache ------------------------------------------------------------------------------------

SHARD = b"a shard's bytes"


def entry() -> ShardEntry:
    digest = hashlib.sha256(SHARD).hexdigest()
    return ShardEntry(name="s-0.tar", num_samples=1, num_bytes=len(SHARD), sha256=digest)


def download(file) -> None:
    file.write(SHARD)


@pytest.mark.parametrize("name", [".tmp-{0}", "{0}.tar", ".lock"])
@pytest.mark.parametrize("target", ["precious", "nowhere"])
def test_links_in_the_cache_are_replaced(name, target, folder, precious):
    path = folder / name.format(entry().sha256)
    path.symlink_to(precious.with_name(target))
    with ShardCache(folder).open(entry(), download) as file:
        assert file.read() == SHARD
    assert not path.is_symlink()
    assert not precious.with_name("nowhere").exists()


@pytest.mark.parametrize("name", [".tmp-{0}", "{0}.tar", ".lock", ".tmp-other"])
def test_pipes_in_the_cache_are_replaced(name, folder):
    path = folder / name.format(entry().sha256)
    os.mkfifo(path)
    found = []

    def read() -> None:
        with ShardCache(folder).open(entry(), download) as file:
            found.append(file.read())

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(30)
    assert found == [SHARD]


def test_somebody_elses_link_in_the_cache_is_no_abandoned_download(folder, precious):
    (folder / ".tmp-other").symlink_to(precious)
    with ShardCache(folder).open(entry(), download) as file:
        assert file.read() == SHARD


def test_a_file_system_that_cannot_flush_folders_can_hold_a_run(monkeypatch, tmp_path):
    """Of its files it must flush every one."""
    fsync, flushed = os.fsync, []

    def only_files(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)
        flushed.append(descriptor)

    monkeypatch.setattr(os, "fsync", only_files)
    save_checkpoint(tmp_path, 4, {"generator.safetensors": {"weight": torch.ones(2)}}, {})
    assert (tmp_path / "checkpoints" / "step_00000004").is_dir()
    assert len(flushed) == 3, "the tensors, the state and the manifest"

    def no_file(descriptor: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(os, "fsync", no_file)
    with pytest.raises(OSError, match="Invalid argument"):
        atomic_write_bytes(tmp_path / "file", b"new")
