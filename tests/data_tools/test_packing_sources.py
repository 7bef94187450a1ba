"""Sources of videos: folders, tables, tars and the web."""

import csv
import http.server
import io
import json
import os
import re
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from data_tools.build.journal import read_failures
from t2vgan.data.shards import Geometry, load_manifest
from tests.support.data_commands import run
from tests.support.packing import contents, pack


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
