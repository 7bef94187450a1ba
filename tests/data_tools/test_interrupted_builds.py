"""A build that is interrupted, or fails, continues."""

import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from data_tools.build.journal import JOURNAL_NAME
from data_tools.build.protocol import BuildStopped
from data_tools.build.worker_pool import run_jobs
from t2vgan.data.shards import load_manifest, read_samples
from t2vgan.errors import UserError
from tests.support.data_commands import LARGE, LARGE_PLAN, PLAN, ROOT, SMALL, command, run


def start_large_build(folder: Path, workers: int) -> tuple[subprocess.Popen, list[psutil.Process]]:
    """Start a build and return when its first shard is recorded.

    It has its own process group.
    """
    process = subprocess.Popen(
        command("build_shards", "circles", "--out", folder, "--workers", workers, *LARGE),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 300
    while not recorded_shards(folder):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process, psutil.Process(process.pid).children(recursive=True)


def recorded_shards(folder: Path) -> list[Path]:
    """Return the finished shards in the journal of a build."""
    journal = folder / JOURNAL_NAME
    content = journal.read_text() if journal.exists() else ""
    whole_lines = content[: content.rfind("\n") + 1].splitlines()
    return [folder / json.loads(line)["entry"]["name"] for line in whole_lines[1:]]


@pytest.mark.parametrize(
    ("number", "exit_code", "workers"),
    [
        (signal.SIGKILL, -9, 2),
        (signal.SIGTERM, 143, 2),
        (signal.SIGINT, 130, 1),
    ],
    ids=lambda value: getattr(value, "name", value),
)
def test_an_interrupted_build_continues(tmp_path, number, exit_code, workers):
    folder = tmp_path / "data"
    process, children = start_large_build(folder, workers)
    # Ctrl-C reaches the whole process group; the others are sent to the command alone.
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == exit_code, stderr
    assert "Traceback" not in stderr
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive, "workers linger"
    assert len(children) >= (1 if workers > 1 else 0)
    assert not (folder / "manifest.json").exists()
    published = {path: path.stat().st_mtime_ns for path in folder.glob("circles-*.tar")}
    for path in published:
        assert len(list(read_samples(path))) == 100, "nothing half-written has a final name"
    if number != signal.SIGKILL:
        assert not list(folder.glob(".tmp-*"))

    recorded = recorded_shards(folder)
    assert recorded, "the first shard was finished"
    result = run("build_shards", "circles", "--out", folder, "--workers", 2, *LARGE)
    assert result.returncode == 0, result.stderr
    for path in recorded:
        assert path.stat().st_mtime_ns == published[path], "finished shards are kept"
    again = LARGE_PLAN.job(14).run(tmp_path / "again", lambda: False)
    assert load_manifest(folder).shards[14] == again.entry
    assert not list(folder.glob(".*"))


def test_ctrl_c_while_the_workers_start_is_quiet(tmp_path):
    process = subprocess.Popen(
        command("build_shards", "circles", "--out", tmp_path, "--workers", 2, *LARGE),
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    parent = psutil.Process(process.pid)
    while len(children := parent.children(recursive=True)) < 2:
        assert process.poll() is None
        time.sleep(0.001)
    os.killpg(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == 130
    assert stderr.splitlines()[-1] == "interrupted"
    assert "Traceback" not in stderr
    assert not psutil.wait_procs(children, timeout=60)[1]


def test_a_shard_stops_when_asked_and_leaves_nothing(tmp_path):
    with pytest.raises(BuildStopped):
        PLAN.job(0).run(tmp_path, lambda: True)
    assert list(tmp_path.iterdir()) == []


def die(job: int, should_stop: object) -> int:
    if job == 2:
        os._exit(9)
    return job


def test_a_worker_that_dies_is_reported():
    with pytest.raises(UserError, match="worker process died"):
        list(run_jobs(die, range(4), num_workers=2))


def test_a_failing_folder_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    result = run("build_shards", "circles", "--out", tmp_path / "file" / "data", *SMALL)
    assert result.returncode == 2
    assert re.fullmatch(r"error: .*Not a directory\n", result.stderr)


def test_a_full_disk_is_one_line_and_finished_shards_stay(small_disk):
    arguments = ["build_shards", "circles", "--out", small_disk / "data", "--num-clips", "2000"]
    result = run(*arguments, "--clips-per-shard", "200", "--workers", "2")
    assert result.returncode == 2
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr
    finished = list((small_disk / "data").glob("circles-*.tar"))
    assert 0 < len(finished) < 10
    for path in finished:
        assert len(list(read_samples(path))) == 200
