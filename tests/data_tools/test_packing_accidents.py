"""Rows that fail, are filtered out, or cost too much; interruptions."""

import os
import signal
import subprocess
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil
import pytest

from data_tools.build.journal import read_failures
from data_tools.videos.clips import RowTask
from data_tools.videos.input_list.rows import Row
from data_tools.videos.sandbox import Sandbox
from data_tools.videos.settings import Access, ClipSettings, Limits, PackSettings, VideoError
from tests.support.data_commands import ROOT, command, files_in
from tests.support.filming import Film, counting, write_film
from tests.support.packing import SMALL, contents, pack
from tests.support.source_videos import CLIPS


def test_too_many_bad_rows_stop_the_run(tmp_path, videos):
    for _ in range(2):  # to be started again changes nothing
        result = pack(videos, tmp_path / "out", "--max-bad-fraction", 0.1)
        assert result.returncode == 1
        assert "rows failed, more than --max-bad-fraction 0.1" in result.stderr
        assert "row 2 (broken.mp4): decode: " in result.stdout
        assert not (tmp_path / "out" / "manifest.json").exists()
    assert pack(videos, tmp_path / "out").returncode == 0, "and it goes on with another limit"
    again = pack(videos, tmp_path / "out", "--max-bad-fraction", 0.1)
    assert again.returncode == 1
    assert "of 8 rows failed: 1 decode, 1 prompt" in again.stdout


def test_failed_rows_are_tried_again(tmp_path, videos):
    assert pack(videos, tmp_path / "out").returncode == 0
    kept = tmp_path / "out" / "videos-000000.tar"
    before = kept.stat().st_mtime_ns
    (videos / "broken.mp4").write_bytes((videos / "a.mp4").read_bytes())
    assert "already complete" in pack(videos, tmp_path / "out").stdout
    assert pack(videos, tmp_path / "out", "--retry-failed").returncode == 0
    assert contents(tmp_path / "out")[2] == "a broken film"
    assert kept.stat().st_mtime_ns == before, "shards without failures are kept"
    assert pack(videos, tmp_path / "fresh").returncode == 0
    assert files_in(tmp_path / "out") == files_in(tmp_path / "fresh")


def test_filters_are_listed_and_no_failures(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    moving = [np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))) for _ in range(8)]
    film = [picture.astype(np.uint8) for picture in moving]
    for name, pictures in (("a", film), ("b", film), ("c", [film[0]] * 8)):
        write_film(folder / f"{name}.mkv", pictures, Film("ffv1", "bgra", options={}))
        (folder / f"{name}.txt").write_text(name)
    options = ["--min-motion", 1, "--drop-duplicates", "--max-bad-fraction", 0]
    result = pack(folder, tmp_path / "out", *options)
    assert result.returncode == 0, result.stderr
    failures = [(f.row, f.clip, f.reason) for f in read_failures(tmp_path / "out")]
    assert failures == [(1, 0, "duplicate"), (2, 0, "static")]
    assert "already complete" in pack(folder, tmp_path / "out", *options).stdout


def test_every_clip_of_a_video_is_accounted_for(tmp_path):
    folder = tmp_path / "videos"
    folder.mkdir()
    still = [np.full((48, 64, 3), 99, np.uint8)] * 8
    write_film(folder / "a.mkv", counting(8) + still, Film("ffv1", "bgra", options={}))
    (folder / "a.txt").write_text("counts, then rests")
    assert pack(folder, tmp_path / "out", "--clips-per-video", 0, "--min-motion", 1).returncode == 0
    assert contents(tmp_path / "out") == {0: "counts, then rests"}
    (failure,) = read_failures(tmp_path / "out")
    assert (failure.row, failure.clip, failure.reason) == (0, 1, "static")


SLOW_FILM = Film("libx264", options={"preset": "ultrafast", "crf": "1"})


@pytest.fixture
def slow_video(tmp_path) -> Path:
    """A video of noise that takes seconds to decode."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (720, 1280, 3), dtype=np.uint8) for _ in range(6)]
    return write_film(tmp_path / "slow.mp4", noise * 10, SLOW_FILM)


def sandbox_of(folder: Path, **limits: float) -> Sandbox:
    clips = ClipSettings(**{**CLIPS, "fps": 1.0})
    return Sandbox(PackSettings(clips, Access(str(folder)), Limits(**limits)))


def outcome(sandbox: Sandbox, name: str) -> str:
    try:
        samples = sandbox.make_clips(RowTask(0, Row(name, "a film")), lambda: False)
        return f"{len(list(samples))} clips"
    except VideoError as error:
        return error.reason


def test_accidents_cost_one_video(tmp_path, slow_video):
    write_film(tmp_path / "good.mp4", counting(8), Film(rate=Fraction(2)))
    sandbox = sandbox_of(tmp_path, timeout_seconds=0.3)
    assert outcome(sandbox, "good.mp4") == "1 clips"
    assert outcome(sandbox, "slow.mp4") == "timeout"
    assert outcome(sandbox, "good.mp4") == "1 clips"
    sandbox.close()

    sandbox = sandbox_of(tmp_path)
    assert outcome(sandbox, "good.mp4") == "1 clips"
    child = sandbox._child.pid
    threading.Timer(0.3, os.kill, (child, signal.SIGSEGV)).start()
    assert outcome(sandbox, "slow.mp4") == "crash"
    assert outcome(sandbox, "good.mp4") == "1 clips"
    sandbox.close()
    assert not psutil.pid_exists(child)


def test_memory_is_limited(tmp_path):
    write_film(tmp_path / "good.mp4", counting(8), Film(rate=Fraction(2)))
    film = Film("ffv1", "bgra", Fraction(2), {})
    write_film(tmp_path / "large.mkv", counting(8, 2160, 3840), film)
    sandbox = sandbox_of(tmp_path, memory_mb=60)
    assert outcome(sandbox, "large.mkv") in ("memory", "crash")
    assert outcome(sandbox, "good.mp4") == "1 clips"
    sandbox.close()
    sandbox = sandbox_of(tmp_path, memory_mb=2000)
    assert outcome(sandbox, "large.mkv") == "1 clips"
    sandbox.close()


@pytest.mark.parametrize(
    ("number", "exit_code", "workers"),
    [(signal.SIGINT, 130, 2), (signal.SIGTERM, 143, 1), (signal.SIGKILL, -9, 2)],
)
def test_an_interrupted_packing_continues(tmp_path, videos, slow_video, number, exit_code, workers):
    slow_video.rename(videos / "more" / "slow.mp4")
    (videos / "more" / "slow.txt").write_text("noise")
    expected = pack(videos, tmp_path / "whole")
    assert expected.returncode == 0, expected.stderr
    out = tmp_path / "out"
    arguments = [videos, "--out", out, *SMALL, "--max-bad-fraction", 1, "--workers", workers]
    process = subprocess.Popen(
        command("pack_videos", *arguments), cwd=ROOT, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not list(out.glob("videos-*.tar")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    children = psutil.Process(process.pid).children(recursive=True)
    (os.killpg if number == signal.SIGINT else os.kill)(process.pid, number)
    _, stderr = process.communicate(timeout=300)
    assert process.returncode == exit_code, stderr
    assert "Traceback" not in stderr
    assert not psutil.wait_procs(children, timeout=60)[1], "processes linger"
    assert children, "the sandbox at least"
    assert not (out / "manifest.json").exists()
    result = pack(videos, out)
    assert result.returncode == 0, result.stderr
    assert files_in(out) == files_in(tmp_path / "whole")
    assert not list(out.glob(".*"))
