"""Every sample that a tar holds, or should hold, becomes a row."""

import gzip
import json
import os
import random
import re
import tarfile
from pathlib import Path

import pytest

from data_tools.videos.input_list.sources import read_source
from data_tools.videos.input_list.tables import Columns
from tests.support.sources import (
    NUM_EACH,
    captions_of,
    manifest_of,
    problems_of,
    read,
    samples,
    write_tar,
)
from tests.support.web_server import send, web_server

# ---- tars that end early ------------------------------------------------------------------------


@pytest.fixture
def tars(tmp_path) -> Path:
    """Two tars of twenty samples."""
    for i in range(2):
        write_tar(tmp_path / "tars" / f"{i}.tar", samples(NUM_EACH * i))
    return tmp_path / "tars"


def header_of(path: Path, name: str) -> int:
    with tarfile.open(path) as tar:
        return tar.getmember(name).offset


def link(path: Path, name: str, kind: bytes = tarfile.SYMTYPE) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, "000.mp4"
    members = [(info, b"") if n == name else (n, data) for n, data in samples(NUM_EACH)]
    write_tar(path, members)


def rename(path: Path, extension: str) -> None:
    members = samples(NUM_EACH)
    write_tar(path, [(n.replace("025", "caf\udce9"), data) for n, data in members])


def claim_size(path: Path, size: int) -> None:
    info = tarfile.TarInfo("025.mp4")
    info.size = size
    place = header_of(path, "025.mp4")
    overwrite(path, place, info.tobuf(tarfile.GNU_FORMAT))


def overwrite(path: Path, start: int, new: bytes) -> None:
    data = bytearray(path.read_bytes())
    data[start : start + len(new)] = new
    path.write_bytes(data)


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = {
    "symbolic link": (lambda p: link(p, "025.mp4"), 39, 1),
    "hard link": (lambda p: link(p, "025.mp4", tarfile.LNKTYPE), 39, 1),
    "linked caption": (lambda p: link(p, "025.txt"), 39, 1),
    "latin-1": (lambda p: rename(p, "mp4"), 40, 0),
    "cut in a member": (lambda p: os.truncate(p, header_of(p, "025.mp4") + 700), 25, 15),
    "cut between members": (lambda p: os.truncate(p, header_of(p, "026.txt")), 26, 14),
    "no end marker": (lambda p: os.truncate(p, header_of(p, "039.mp4") + 2048), 40, 1),
    "empty": (lambda p: os.truncate(p, 0), 20, 20),
    "no tar": (lambda p: p.write_bytes(b"<html>not found</html>" * 99), 20, 20),
    "damaged header": (lambda p: overwrite(p, header_of(p, "025.mp4") + 3, b"X"), 39, 1),
    "size beyond the end": (lambda p: claim_size(p, 1 << 33), 39, 1),
    "size too small": (lambda p: claim_size(p, 100), 40, 1),
    "negative size": (lambda p: overwrite(p, header_of(p, "025.mp4") + 124, b"-"), 39, 1),
    "bytes after the end": (lambda p: p.write_bytes(p.read_bytes() + b"junk" * 999), 40, 1),
    "another tar after the end": (lambda p: p.write_bytes(p.read_bytes() * 2), 60, 0),
    "a hole": (lambda p: overwrite(p, header_of(p, "025.txt"), bytes(7000)), 37, 3),
    "zeros to the end": (lambda p: overwrite(p, header_of(p, "025.txt"), bytes(46080)), 25, 15),
    "pipe": (make_pipe, 20, 20),
    "compressed": (lambda p: p.write_bytes(gzip.compress(p.read_bytes())), 20, 20),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_tar_gives_a_row_for_every_sample_that_it_should_hold(tars, damage):
    """40 samples in two tars, the second damaged."""
    break_it, num_good, num_failed = DAMAGES[damage]
    break_it(tars / "1.tar")
    source = read(tars)
    rows = [row for row in source.rows if not row.problem]
    problems = problems_of(source)
    assert (len(rows), len(problems)) == (num_good, num_failed)
    assert {row.path for row in source.rows if row.problem} <= {"1.tar"}
    for row in rows:
        assert row.prompt == f"caption {row.member[:3]}".replace("caf", "025")


def test_random_damage_loses_no_sample_silently_and_invents_no_caption(tars):
    whole = (tars / "1.tar").read_bytes()
    for seed in range(60):
        rng = random.Random(seed)
        data = bytearray(whole)
        start = rng.randrange(len(data))
        stop = min(len(data), start + rng.choice([1, 100, 512, 3000, 9000]))
        kind = rng.choice(["cut", "delete", "zero", "noise", "insert"])
        if kind == "cut":
            del data[start:]
        elif kind == "delete":
            del data[start:stop]
        elif kind == "zero":
            data[start:stop] = bytes(stop - start)
        elif kind == "noise":
            data[start:stop] = rng.randbytes(stop - start)
        else:
            data[start:start] = rng.randbytes(stop - start)
        (tars / "1.tar").write_bytes(data)
        source = read(tars)
        assert len(source.rows) >= 40, (seed, kind)
        for name, prompt in captions_of(source).items():
            whole_prompt = re.fullmatch(r"caption (\d{3})", prompt)
            assert whole_prompt is None or whole_prompt[1] == name[:3], (seed, kind)


def test_a_torn_tar_without_neighbours_lost_an_unknown_number(tmp_path):
    path = write_tar(tmp_path / "a.tar", samples(0))
    os.truncate(path, header_of(path, "015.mp4") + 700)
    (*good, last) = read(path).rows[:16]
    assert [row.problem for row in good] == [""] * 15
    assert "how many samples are lost is unknown, at least 1104 bytes" in last.problem
    assert len(read(path).rows) == 30, "as many as it holds: no usual limit lets them pass"


def test_what_is_beside_a_damaged_tar_says_how_many_samples_it_held(tmp_path):
    for name, content in {
        "00000_stats.json": {"count": 30, "successes": 24, "failed_to_download": 6},
        "manifest.json": manifest_of("00000.tar", 23),
    }.items():
        folder = tmp_path / name[:5]
        path = write_tar(folder / "00000.tar", samples(0))
        os.truncate(path, header_of(path, "010.txt"))
        (folder / name).write_text(json.dumps(content))
        expected = 24 if "stats" in name else 23
        source = read(folder)
        assert len(source.rows) == expected
        assert f"holds 10 of {expected} samples (by {name})" in problems_of(source)[0]


@pytest.mark.parametrize(("num_zeros", "num_lost"), [(1024, 0), (1 << 20, 0), (3 << 20, 500)])
def test_zeros_at_the_end_may_be_a_filling_or_a_hole(tmp_path, num_zeros, num_lost):
    """Records of 1 MB are filled up; so are torn downloads."""
    path = write_tar(tmp_path / "a.tar", samples(0))
    os.truncate(path, header_of(path, "019.mp4") + 2048)
    os.truncate(path, path.stat().st_size + num_zeros)
    source = read(path)
    assert len(captions_of(source)) == 20
    assert (len(problems_of(source)) > num_lost) == bool(num_lost)


def test_a_claim_of_endless_samples_fills_no_memory(tmp_path):
    path = write_tar(tmp_path / "0.tar", samples(0, 3))
    os.truncate(path, 3000)
    (tmp_path / "0_stats.json").write_text('{"successes": 1000000000000}')
    assert len(read(tmp_path).rows) == 100_002


def test_a_tar_of_very_many_members_is_read_in_part(tmp_path, monkeypatch):
    monkeypatch.setattr("data_tools.videos.input_list.archives.MAX_MEMBERS", 20)
    source = read(write_tar(tmp_path / "a.tar", samples(0)))
    assert len(captions_of(source)) == 10
    assert "a.tar: more than 20 members or 1000 damages; divide" in problems_of(source)[0]
    assert len(problems_of(source)) == 10


def test_a_tar_on_the_web_is_read_in_parts(tmp_path, monkeypatch):
    """Damage is found there too, and a cut connection costs one request."""
    monkeypatch.setattr("t2vgan.data.remote.CHUNK_BYTES", 1 << 10)
    monkeypatch.setattr("t2vgan.data.remote.OPEN_FILE_BYTES", 1 << 12)
    path = write_tar(tmp_path / "a.tar", samples(0))
    overwrite(path, header_of(path, "005.mp4") + 3, b"X")
    data = path.read_bytes()

    def answer(request) -> None:
        part = request.headers.get("Range", "")
        if request.command == "GET" and len(server.requests) == 4:
            request.close_connection = True  # with no answer
        elif match := re.fullmatch(r"bytes=(\d+)-(\d+)", part):
            start, stop = int(match[1]), int(match[2]) + 1
            send(request, 206, data[start:stop], Content_Range=f"bytes {start}-*/{len(data)}")
        else:
            send(request, 200, data, Accept_Ranges="bytes")

    with web_server(answer) as server:
        source = read_source(f"{server.url}/a.tar", Columns())
    assert len(captions_of(source)) == 19
    assert captions_of(source)["019.mp4"] == "caption 019"
    assert "damaged tar header" in " ".join(problems_of(source))
