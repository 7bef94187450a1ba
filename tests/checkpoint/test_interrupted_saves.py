"""Kills, refusals and full disks leave only good checkpoints."""

import contextlib
import errno
import multiprocessing
import os
import time
from itertools import count
from pathlib import Path

import pytest
from torch import nn

from t2vgan.checkpoint import storage
from t2vgan.checkpoint.state_dict import create_snapshot, find_latest_step, save_checkpoint
from tests.support.saved_runs import FILES, Run, assert_same, contents, names, steps


@pytest.mark.parametrize("act", [find_latest_step, lambda run_dir: Run().save(run_dir, 2)])
def test_leftovers_of_a_killed_save_are_removed(tmp_path, act):
    folder = Run().save(tmp_path, 1)
    leftover = folder.parent / ".tmp-abc"
    leftover.mkdir()
    (leftover / "generator.safetensors").write_bytes(b"half")
    act(tmp_path)
    assert not leftover.exists()
    assert steps(tmp_path)[0] == 1


def save_for_ever(run: Run, run_dir: Path, said, keep: int = 2) -> None:
    for step in count(1):
        run.save(run_dir, step, keep=keep)
        said.send(step)


def test_a_name_appears_only_with_everything_under_it(tmp_path):
    processes = multiprocessing.get_context("fork")
    _, said = processes.Pipe(duplex=False)
    saver = processes.Process(target=save_for_ever, args=(Run(), tmp_path, said, 100))
    saver.start()
    try:
        for step in range(1, 40):
            folder = storage.step_folder(tmp_path, step)
            while not folder.exists():
                assert saver.is_alive()
            assert {path.name for path in folder.iterdir()} == set(FILES)
    finally:
        saver.kill()
        saver.join()


def test_sigkill_at_any_moment_leaves_only_good_checkpoints(tmp_path):
    processes = multiprocessing.get_context("fork")  # torch need not be imported again
    run = Run(seed=0).train(range(1))
    for number in range(20):
        run_dir = tmp_path / str(number)
        heard, said = processes.Pipe(duplex=False)
        saver = processes.Process(target=save_for_ever, args=(run, run_dir, said))
        saver.start()
        said.close()
        promised = [heard.recv() for _ in range(3)]
        time.sleep(0.0017 * number)
        saver.kill()
        with contextlib.suppress(EOFError):
            while True:
                promised.append(heard.recv())
        saver.join()

        restored = Run(seed=1)
        assert restored.load(run_dir)["step"] >= promised[-1]
        assert_same(restored, run)
        assert all(name.startswith("step_") for name in names(run_dir))
        for step in steps(run_dir):  # none of them half-written or half-removed
            storage.verify(storage.step_folder(run_dir, step))


def test_a_kill_while_the_only_checkpoint_is_replaced_loses_neither(tmp_path, monkeypatch):
    """Ended at each of its renames in turn, a save leaves the old or the new checkpoint, whole."""
    fork = multiprocessing.get_context("fork")
    rename = Path.rename
    old, new = Run(seed=0).train(range(1)), Run(seed=0).train(range(2))

    def save_until(last: int) -> None:
        renames = count(1)
        monkeypatch.setattr(
            Path, "rename", lambda *a: rename(*a) if next(renames) < last else os._exit(9)
        )
        new.save(tmp_path / str(last), 1, replace=True)

    for last in count(1):
        run_dir = tmp_path / str(last)
        old.save(run_dir, 1)
        saver = fork.Process(target=save_until, args=(last,))
        saver.start()
        saver.join()
        restored = Run(seed=1)
        assert restored.load(run_dir)["step"] == 1
        assert_same(restored, old if last <= 2 else new)
        assert names(run_dir) == {"step_00000001"}
        if saver.exitcode == 0:
            break
    assert last > 3


def test_a_refused_replacement_leaves_the_old_checkpoint_under_its_name(tmp_path, monkeypatch):
    before = saved_before(tmp_path)
    rename = Path.rename

    def refuse(source: Path, target: Path) -> Path:
        if source.name.startswith(".tmp-"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(source, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        Run().save(tmp_path, 1, replace=True)
    assert_survived(tmp_path, before)


def saved_before(run_dir: Path) -> dict[str, bytes]:
    return contents(Run(seed=0).train(range(1)).save(run_dir, 1))


def assert_survived(run_dir: Path, before: dict[str, bytes]) -> None:
    assert names(run_dir) == {"step_00000001"}
    assert contents(run_dir / "checkpoints" / "step_00000001") == before
    assert Run(seed=9).load(run_dir)["step"] == 1


def test_too_little_free_space_is_said_before_writing(small_disk):
    before = saved_before(small_disk)
    with pytest.raises(OSError, match=r"it needs 6\.\d MB and \d\.\d MB are free") as caught:
        save_checkpoint(
            small_disk, 2, create_snapshot({"generator": nn.Linear(1_300_000, 1)}, {}), {}
        )
    assert caught.value.errno == errno.ENOSPC
    assert "step_00000002" in caught.value.filename
    assert_survived(small_disk, before)


def test_a_disk_that_fills_up_while_saving(small_disk):
    """The free space looks fine, but there are no more files."""
    before = saved_before(small_disk)
    modules = {f"part{number}": nn.Linear(2, 2) for number in range(40)}
    with pytest.raises(OSError, match="No space left on device") as caught:
        save_checkpoint(small_disk, 2, create_snapshot(modules, {}), {})
    assert caught.value.errno == errno.ENOSPC
    assert_survived(small_disk, before)


def test_file_size_limit_while_saving(tmp_path, file_size_limit):
    before = saved_before(tmp_path)
    with file_size_limit(10_000), pytest.raises(OSError, match="File too large") as caught:
        save_checkpoint(tmp_path, 2, create_snapshot({"generator": nn.Linear(10_000, 1)}, {}), {})
    assert caught.value.errno == errno.EFBIG
    assert "generator.safetensors" in caught.value.filename
    assert_survived(tmp_path, before)
