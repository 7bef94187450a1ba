"""Packing videos, run as a user runs it: sources, accounts, tasks, accidents."""

import csv
import http.server
import io
import json
import os
import re
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pyarrow
import pytest
from pyarrow import parquet

from data_tools.build.journal import read_failures
from data_tools.videos.clips import RowTask
from data_tools.videos.input_list.rows import Row
from data_tools.videos.input_list.sources import read_source
from data_tools.videos.input_list.tables import Columns
from data_tools.videos.keys import parse_key
from data_tools.videos.sandbox import Sandbox
from data_tools.videos.settings import Access, ClipSettings, Limits, PackSettings, VideoError
from t2vgan.data.shards import Geometry, decode_sample, load_manifest, read_samples
from t2vgan.errors import UserError
from tests.data_tools.test_data_tools import ROOT, command, files_in, run
from tests.data_tools.test_videos import CLIPS
from tests.support.filming import Film, counting, numbers_of, write_film

SMALL = ["--num-frames", "4", "--fps", "5", "--size", "32x32", "--rows-per-shard", "2"]
FAST = Film("mpeg4", options={"qmin": "1", "qmax": "2"})


@pytest.fixture
def videos(tmp_path) -> Path:
    """Six films with captions, one without, one broken.

    They make eight rows in four shards.
    """
    folder = tmp_path / "videos"
    (folder / "more").mkdir(parents=True)
    for name in ("a", "b", "c", "d", "more/e", "more/f", "uncaptioned"):
        write_film(folder / f"{name}.mp4", counting(8), FAST)
        if name != "uncaptioned":
            (folder / f"{name}.txt").write_text(f"film {name[-1]} counts\n")
    (folder / "broken.mp4").write_bytes(b"\0" * 999)
    (folder / "broken.txt").write_text("a broken film")
    return folder


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


# ---- sources ----------------------------------------------------------------------------------


def test_a_folder_with_captions_beside_the_videos(tmp_path, videos):
    result = pack(videos, tmp_path / "out")
    assert result.returncode == 0, result.stderr
    assert contents(tmp_path / "out") == {
        0: "film a counts", 1: "film b counts", 3: "film c counts", 4: "film d counts",
        5: "film e counts", 6: "film f counts",
    }  # fmt: skip
    failures = read_failures(tmp_path / "out")
    assert [(f.row, f.source, f.reason) for f in failures] == [
        (2, "broken.mp4", "decode"),
        (7, "uncaptioned.mp4", "prompt"),
    ]
    assert "8 rows in" in result.stdout
    assert "6 clips out" in result.stdout
    assert "1 failed: decode" in result.stdout
    manifest = load_manifest(tmp_path / "out")
    assert (manifest.input.num_rows, manifest.input.failures) == (8, {"decode": 1, "prompt": 1})
    assert manifest.geometry == Geometry(num_frames=4, height=32, width=32)
    assert manifest.fps == 5
    assert run("verify_shards", tmp_path / "out").returncode == 0


def table_of(videos: Path) -> list[dict[str, str]]:
    return [
        {"clip": "a.mp4", "words": "film a, counted"},
        {"clip": "more/e.mp4", "words": 'film "e"\nin two lines'},
        {"clip": "nowhere.mp4", "words": "missing"},
        {"clip": f"file://{videos}/b.mp4", "words": "an URL"},
    ]


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_tables_name_their_columns(tmp_path, videos, kind):
    path, rows = videos / f"metadata.{kind}", table_of(videos)
    if kind == "csv":
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, ["words", "clip"])
            writer.writeheader()
            writer.writerows(rows)
    elif kind == "jsonl":
        path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    else:
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    result = pack(videos, tmp_path / "out")
    assert result.returncode == 2
    assert "has no column video or" in result.stderr
    assert "words" in result.stderr
    columns = ["--video-column", "clip", "--prompt-column", "words"]
    for source in (videos, path):
        out = tmp_path / f"out-{source.name}"
        assert pack(source, out, *columns).returncode == 0
        assert contents(out) == {0: "film a, counted", 1: 'film "e" in two lines'}
        reasons = [(f.row, f.reason) for f in read_failures(out)]
        assert reasons == [(2, "missing"), (3, "refused")]
    assert pack(path, tmp_path / "local", *columns, "--allow-local").returncode == 0
    assert contents(tmp_path / "local")[3] == "an URL"


def test_two_text_files(tmp_path, videos):
    (videos / "videos.txt").write_text("a.mp4\r\nmore/f.mp4\r\n")
    (videos / "prompts.txt").write_text("\ufefffirst\nsecond\n")
    assert pack(videos, tmp_path / "out").returncode == 0
    assert contents(tmp_path / "out") == {0: "first", 1: "second"}
    (videos / "prompts.txt").write_text("first\nsecond\nthird\n")
    result = pack(videos, tmp_path / "other")
    assert result.returncode == 2
    assert "videos.txt has 2 lines and prompts.txt 3" in result.stderr


def add(tar: tarfile.TarFile, name: str, data: bytes, **fields: object) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for field, value in fields.items():
        setattr(member, field, value)
    tar.addfile(member, io.BytesIO(data))


def test_tars_as_video2dataset_writes_them(tmp_path, videos):
    film = (videos / "a.mp4").read_bytes()
    folder = tmp_path / "tars"
    folder.mkdir()
    for shard in range(2):
        with tarfile.open(folder / f"{shard:05d}.tar", "w") as tar:
            for i in range(2):
                key = f"{shard:05d}000{i}"
                add(tar, f"{key}.json", json.dumps({"caption": f"json {key}"}).encode())
                add(tar, f"{key}.mp4", film)
                if i == 0:
                    add(tar, f"{key}.{('txt', 'TXT')[shard]}", f"text {key}".encode())
            add(tar, "trap.pyd", b"cos\nsystem\n(S'touch hacked'\ntR.")
            add(tar, "trap.pth", b"cos\nsystem\n(S'touch hacked'\ntR.")
    (folder / "00000_stats.json").write_text("{}")
    result = pack(folder, tmp_path / "out")
    assert result.returncode == 0
    assert "1 ignored: not a video, e.g. 00000_stats.json" in result.stdout
    lines = (tmp_path / "out" / "passed_over.jsonl").read_text().splitlines()
    assert {json.loads(line)["path"] for line in lines} == {
        "00000_stats.json", "00000.tar/trap.pyd", "00001.tar/trap.pyd",
    }  # fmt: skip
    assert contents(tmp_path / "out") == {
        0: "text 000000000", 1: "json 000000001", 2: "text 000010000", 3: "json 000010001",
    }  # fmt: skip
    assert not list(tmp_path.rglob("hacked"))


def test_the_limit_of_failures_acts_on_what_a_torn_tar_should_hold(tmp_path, videos):
    folder, middle = tmp_path / "tars", 0
    folder.mkdir()
    for name in ("0.tar", "1.tar"):
        with tarfile.open(folder / name, "w") as tar:
            for i in range(4):
                add(tar, f"{i}.mp4", (videos / "a.mp4").read_bytes())
                add(tar, f"{i}.txt", b"a film")
                middle = tar.offset if i == 1 else middle
    os.truncate(folder / "1.tar", middle)
    result = pack(folder, tmp_path / "out", "--max-bad-fraction", 0.2)
    assert result.returncode == 1
    assert "2 of 8 rows failed, more than --max-bad-fraction 0.2" in result.stderr
    assert "row 6 (1.tar): list: 1.tar: truncated" in result.stdout
    assert "holds 2 of 4 samples (as its neighbours)" in result.stdout
    assert pack(folder, tmp_path / "out").returncode == 0
    assert sorted(contents(tmp_path / "out")) == [0, 1, 2, 3, 4, 5]
    assert [f.row for f in read_failures(tmp_path / "out")] == [6, 7]


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("../escape.mp4", {}),
        ("/absolute.mp4", {}),
        ("link.mp4", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
        ("hard.mp4", {"type": tarfile.LNKTYPE, "linkname": "a.mp4"}),
        ("device.mp4", {"type": tarfile.CHRTYPE}),
        ("pipe.mp4", {"type": tarfile.FIFOTYPE}),
        ("sparse.mp4", {"pax_headers": {"GNU.sparse.major": "1"}}),
        ("huge.mp4", {"size": 1 << 40}),
    ],
)
def test_hostile_tars_give_one_failure_and_nothing_else(tmp_path, videos, name, fields):
    folder = tmp_path / "tars"
    folder.mkdir()
    with tarfile.open(folder / "0.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        add(tar, "good.mp4", (videos / "a.mp4").read_bytes())
        add(tar, "good.txt", b"a good film")
        member = tarfile.TarInfo(name)
        for field, value in fields.items():
            setattr(member, field, value)
        tar.fileobj.write(member.tobuf(tarfile.PAX_FORMAT))
        tar.offset = tar.fileobj.tell()
    before = {path for path in tmp_path.rglob("*") if "out" not in path.parts}
    assert pack(folder, tmp_path / "out").returncode == 0
    (failure,) = read_failures(tmp_path / "out")
    assert failure.reason == "list"
    assert "0.tar" in failure.message
    after = {p for p in tmp_path.rglob("*") if "out" not in p.relative_to(tmp_path).parts}
    assert after == before, "nothing was extracted anywhere"


def test_hostile_lists_are_read_as_data(tmp_path, videos):
    rows = [
        {"video": "a.mp4", "prompt": "x" * 1_000_000},
        {"video": "b.mp4", "prompt": "\u202egod eht\u202c <script>alert(1)</script>\x1b[31m"},
        {"video": "pipe:touch hacked", "prompt": "a shell"},
        {"video": "../../../../etc/passwd", "prompt": "a climb"},
        {"video": ["a.mp4"], "prompt": "not a text"},
        {"video": "c.mp4", "prompt": {"a": 1}},
        {"video": "\ud800.mp4", "prompt": "half a character"},
    ]
    lines = [json.dumps(row) for row in rows]
    lines += ["[" * 100_000, "{", '"text"', "\x00"]
    (videos / "metadata.jsonl").write_text("\n".join(lines))
    result = pack(videos, tmp_path / "out", "--max-bad-fraction", "1")
    assert result.returncode == 0, result.stderr
    prompts = contents(tmp_path / "out")
    assert len(prompts.pop(0)) == 2000
    assert prompts == {1: "god eht <script>alert(1)</script>[31m"}
    reasons = {f.row: f.reason for f in read_failures(tmp_path / "out")}
    assert reasons == {
        2: "refused", 3: "refused", 4: "list", 5: "prompt", 6: "list",
        7: "list", 8: "list", 9: "list", 10: "list",
    }  # fmt: skip
    assert not list(tmp_path.rglob("hacked"))
    assert "\x1b" not in result.stdout


def test_a_source_that_is_none_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "a.doc").write_text("x")
    for source, message in (
        ("nowhere", "does not exist"), ("empty", "has no videos"), ("a.doc", "must end in .csv"),
    ):  # fmt: skip
        result = pack(tmp_path / source, tmp_path / "out")
        assert result.returncode == 2
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1


@pytest.fixture
def web(tmp_path) -> Iterator[str]:
    """Serve a folder; return its URL."""
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_a_list_on_the_web(tmp_path, videos, web):
    rows = [("a.mp4", "here"), ("nowhere.mp4", "lost"), ("http://127.0.0.1:1/a.mp4", "silent")]
    lines = "".join(f"{video},{prompt}\n" for video, prompt in rows)
    (videos / "metadata.csv").write_text(f"video,prompt\n{lines}")
    result = pack(f"{web}/videos/metadata.csv", tmp_path / "out", "--max-bad-fraction", 1)
    assert result.returncode == 0, result.stderr
    assert contents(tmp_path / "out") == {0: "here"}
    reasons = [(f.row, f.reason) for f in read_failures(tmp_path / "out")]
    assert reasons == [(1, "missing"), (2, "unreachable")]


def test_private_addresses_of_a_list_need_permission(tmp_path, videos, web):
    """Passwords and signatures in its addresses are recorded nowhere."""
    secret = f"{web.replace('://', '://user:passw0rd@')}/videos/a.mp4?sig=s1gnature"
    lines = f"HTTP{secret.removeprefix('http')},here\n{secret}&nowhere,lost\n"
    (videos / "metadata.csv").write_text(f"video,prompt\n{lines}")
    for options, reasons in (((), ["refused"] * 2), (("--allow-private-hosts",), [])):
        out = tmp_path / f"out{len(options)}"
        result = pack(videos, out, "--max-bad-fraction", 1, *options)
        assert [failure.reason for failure in read_failures(out)] == reasons
        written = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
        printed = (result.stdout + result.stderr).encode()
        assert b"***@127.0.0.1" in written
        assert not re.search(b"passw0rd|s1gnature", written + printed)
    assert contents(out) == {0: "here", 1: "lost"}


def test_a_folder_of_tars_and_videos_is_refused(tmp_path, videos):
    tarfile.open(videos / "more" / "backup.tar", "w").close()
    result = pack(videos, tmp_path / "out")
    assert result.returncode == 2
    assert "has both tars and videos (more/backup.tar, a.mp4); keep one kind" in result.stderr


def test_names_that_look_like_urls_and_captions_in_capitals(tmp_path, videos):
    folder = tmp_path / "odd"
    folder.mkdir()
    for name in ("Movie: part 1.mp4", "pipe:touch hacked.MP4"):
        (folder / name).write_bytes((videos / "a.mp4").read_bytes())
        (folder / name).with_suffix(".TXT").write_text(name[:5])
    assert pack(folder, tmp_path / "out").returncode == 0
    assert contents(tmp_path / "out") == {0: "Movie", 1: "pipe:"}
    assert not list(tmp_path.rglob("hacked"))


def test_the_source_is_no_place_for_shards(videos):
    result = pack(videos, videos)
    assert result.returncode == 2
    assert "is the source; choose another folder" in result.stderr


# ---- a shard is a pure function ----------------------------------------------------------------


def test_the_same_bytes_whatever_the_parallelism(tmp_path, videos):
    assert pack(videos, tmp_path / "one").returncode == 0
    assert pack(videos, tmp_path / "two", workers=2).returncode == 0
    for index in (2, 0, 1):
        result = pack(videos, tmp_path / "tasks", "--task-index", index, "--task-count", 3)
        assert result.returncode == 0, result.stderr
        assert not (tmp_path / "tasks" / "manifest.json").exists()
    assert run("merge_manifests", tmp_path / "tasks").returncode == 0
    moved = tmp_path / "elsewhere"
    videos.rename(moved)
    assert pack(moved, tmp_path / "moved").returncode == 0
    one = files_in(tmp_path / "one")
    assert set(one) == {
        "manifest.json", "failures.jsonl", *(f"videos-{i:06d}.tar" for i in range(4)),
    }  # fmt: skip
    for other in ("two", "tasks", "moved"):
        assert files_in(tmp_path / other) == one, other


def test_merging_waits_for_every_task(tmp_path, videos):
    options = ["--task-count", 2, "--task-index"]
    assert pack(videos, tmp_path / "out", *options, 0).returncode == 0
    result = run("merge_manifests", tmp_path / "out")
    assert result.returncode == 2
    assert "2 of 4 shards are missing or damaged (numbers 1, 3)" in result.stderr
    assert pack(videos, tmp_path / "out", *options, 1).returncode == 0
    shard = tmp_path / "out" / "videos-000000.tar"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert "numbers 0" in run("merge_manifests", tmp_path / "out").stderr
    assert pack(videos, tmp_path / "out", *options, 0).returncode == 0
    assert run("merge_manifests", tmp_path / "out").returncode == 0


def test_tasks_try_failed_rows_again_and_merge(tmp_path, videos):
    options = ["--task-count", 2, "--task-index"]
    for index in range(2):
        assert pack(videos, tmp_path / "out", *options, index).returncode == 0
    assert run("merge_manifests", tmp_path / "out").returncode == 0
    (videos / "broken.mp4").write_bytes((videos / "a.mp4").read_bytes())
    for index in range(2):
        result = pack(videos, tmp_path / "out", "--retry-failed", *options, index)
        assert result.returncode == 0, result.stderr
    assert run("merge_manifests", tmp_path / "out").returncode == 0
    assert contents(tmp_path / "out")[2] == "a broken film"


def test_a_cluster_tells_the_task_by_its_variables(tmp_path, videos, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "3")
    result = pack(videos, tmp_path / "out", "--plan-only")
    assert "task 1 of 3: 1 shards, [1]" in result.stdout
    assert not (tmp_path / "out").exists()
    monkeypatch.delenv("SLURM_ARRAY_TASK_COUNT")
    result = pack(videos, tmp_path / "out")
    assert result.returncode == 2
    assert "SLURM_ARRAY_TASK_ID is set without SLURM_ARRAY_TASK_COUNT; give --task" in result.stderr
    result = pack(videos, tmp_path / "out", "--plan-only", "--task-index", 1)
    assert "--task-index needs --task-count" in result.stderr


@pytest.mark.parametrize(
    ("number", "first", "step", "expected"),
    [(1, 1, 1, "task 0 of 3"), (3, 1, 1, "task 2 of 3"), (14, 10, 2, "task 2 of 3")],
)
def test_an_array_may_begin_at_any_number(
    number, first, step, expected, tmp_path, videos, monkeypatch
):
    values = {"ID": number, "COUNT": 3, "MIN": first, "STEP": step}
    for name, value in values.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    result = pack(videos, tmp_path / "out", "--plan-only")
    assert f"{expected} of this job array" in result.stdout
    assert f"{expected}: " in result.stdout
    result = pack(videos, tmp_path / "out", "--plan-only", "--task-index", 0, "--task-count", 1)
    assert "task " not in result.stdout, "the array has another purpose"


def test_an_array_with_gaps_is_named(tmp_path, videos, monkeypatch):
    for name, value in {"ID": 7, "COUNT": 3, "MIN": 1, "STEP": 1}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    result = pack(videos, tmp_path / "out", "--plan-only")
    assert result.returncode == 2
    assert "SLURM_ARRAY_TASK_ID=7: the array has 3 tasks from 1 in steps of 1" in result.stderr
    assert "use --array=0-2" in result.stderr


def test_other_settings_or_rows_are_refused(tmp_path, videos):
    assert pack(videos, tmp_path / "out").returncode == 0
    result = pack(videos, tmp_path / "out", "--quality", 80)
    assert result.returncode == 2
    assert "quality=90, not 80" in result.stderr
    (videos / "a.txt").write_text("another caption")
    result = pack(videos, tmp_path / "out")
    assert result.returncode == 2
    assert (
        "out holds a build of another input (a row or a caption differs); choose" in result.stderr
    )


def test_a_damaged_shard_is_made_again(tmp_path, videos):
    assert pack(videos, tmp_path / "out").returncode == 0
    before = files_in(tmp_path / "out")
    (tmp_path / "out" / "videos-000002.tar").write_bytes(b"damaged")
    assert pack(videos, tmp_path / "out").returncode == 0
    assert files_in(tmp_path / "out") == before
    assert "already complete" in pack(videos, tmp_path / "out").stdout


# ---- accounts and accidents --------------------------------------------------------------------


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


# ---- wrong arguments and start-up --------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fps", 0], "--fps 0.0: must be above 0"),
        (["--fps", "nan"], "--fps nan"),
        (["--num-frames", 0], "--num-frames 0: must be at least 1"),
        (["--size", "9000x64", "--num-frames", 16], "16 * 9000 = 144000 rows"),
        (["--quality", 101], "--quality 101: must be between 1 and 100"),
        (["--stride", -1], "--stride -1.0"),
        (["--clips-per-video", -1], "--clips-per-video -1"),
        (["--max-bad-fraction", 2], "--max-bad-fraction 2.0"),
        (["--task-index", 2, "--task-count", 2], "must be between 0 and --task-count - 1 = 1"),
        (["--task-count", 2], "--task-count needs --task-index"),
        (["--task-index", 0, "--task-count", 0], "--task-count 0: must be at least 1"),
        (["--retry-failed"], "holds no finished data set"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path, videos, arguments, message):
    result = run("pack_videos", videos, "--out", tmp_path / "out", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_packing_never_imports_torch(tmp_path, videos):
    code = f"""
import sys
sys.argv = ["pack_videos", {str(videos)!r}, "--out", {str(tmp_path / "out")!r}, "--workers", "1",
            "--num-frames", "4", "--max-bad-fraction", "0.5", "--fps", "5"]
from data_tools import pack_videos
assert pack_videos.main() == 0
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_a_missing_column_lists_the_columns(tmp_path):
    (tmp_path / "metadata.csv").write_text("id,where\n1,a.mp4\n")
    with pytest.raises(
        UserError, match="its columns are id, where; choose one with --video-column"
    ):
        read_source(str(tmp_path), Columns())


def test_plan_only_says_what_would_be_done(tmp_path, videos):
    result = pack(videos, tmp_path / "out", "--plan-only")
    assert result.returncode == 0
    assert "8 videos (folder) -> 4 shards, videos-000000.tar to videos-000003.tar" in result.stdout
    assert "1 clip at most per video, from its start (--clips-per-video 0" in result.stdout
    assert not (tmp_path / "out").exists()


def test_a_small_input_makes_as_many_shards_as_training_has_streams(tmp_path):
    lines = "".join(f"{i}.mp4,a film\n" for i in range(17))
    (tmp_path / "metadata.csv").write_text(f"video,prompt\n{lines}")
    arguments = ["pack_videos", tmp_path, "--out", tmp_path / "out", "--size", "50x64"]
    result = run(*arguments, "--plan-only")
    assert "17 videos (metadata.csv) -> 9 shards" in result.stdout
    assert "note: --size 50x64: train.py's presets need multiples of 16" in result.stdout
