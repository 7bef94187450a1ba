"""Captions of a tar find their videos; other members have reasons."""

import gzip
import json
import tarfile

import pytest

from t2vgan.errors import UserError
from tests.support.sources import (
    FILM,
    captions_of,
    problems_of,
    read,
    reasons_of,
    samples,
    write_tar,
)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (["Mr.Bean.mp4", "Mr.Bean.txt", "v1.0_a.mp4", "v1.0_a.txt"], ["Mr.Bean.mp4", "v1.0_a.mp4"]),
        (["._a.mp4", "a.mp4", "._a.txt", "a.txt"], ["a.mp4"]),
        (["a.mp4", "__MACOSX/a.mp4", "__MACOSX/._a.mp4", "a.txt"], ["a.mp4"]),
        (["b.mp4", "a.mp4", "a.txt", "b.txt"], ["a.mp4", "b.mp4"]),
        (["a.txt", "b.txt", "a.mp4", "b.mp4"], ["a.mp4", "b.mp4"]),
        (["./a.mp4", "./a.txt"], ["./a.mp4"]),
        (["a.MP4", "a.TXT"], ["a.MP4"]),
        (["a.clip", "a.txt"], ["a.clip"]),
        (["a.rgb.mp4", "a.depth.png", "a.txt"], ["a.rgb.mp4"]),
    ],
)
@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_captions_find_their_videos(tmp_path, members, expected, format):
    contents = [(n, n[:-4].encode() if n.lower().endswith("txt") else FILM) for n in members]
    source = read(write_tar(tmp_path / "a.tar", contents, format))
    found = captions_of(source)
    assert sorted(found) == expected
    assert not problems_of(source)
    for name, caption in found.items():
        assert name.startswith(caption)


@pytest.mark.parametrize(
    "members",
    [
        ["a.mp4", "b.mp4", "a.txt", "c.mp4", "a.txt"],
        ["a.mp4", "a.txt", "a.txt", "b.mp4", "c.mp4"],
        ["a.mp4", "b.mp4", "a.mp4", "c.mp4", "a.txt"],
    ],
)
def test_a_caption_that_may_be_anothers_is_a_failure(tmp_path, members):
    source = read(write_tar(tmp_path / "a.tar", [(n, FILM) for n in members]))
    assert not captions_of(source)
    assert len(problems_of(source)) == sum(name.endswith("mp4") for name in members)
    assert any("2 members of the tar may be it" in problem for problem in problems_of(source))


def test_the_same_keys_in_two_parts_of_a_tar_stay_apart(tmp_path):
    parts = [
        write_tar(tmp_path / f"{i}", [("a.mp4", FILM), *([("a.txt", b"one")] if i == 0 else [])])
        for i in range(2)
    ]
    middle = write_tar(tmp_path / "middle", [("b.mp4", FILM), ("b.txt", b"b")])
    whole = tmp_path / "whole.tar"
    whole.write_bytes(parts[0].read_bytes() + middle.read_bytes() + parts[1].read_bytes())
    source = read(whole)
    assert [(row.member, row.prompt) for row in source.rows] == [
        ("a.mp4", "one"), ("b.mp4", "b"), ("a.mp4", ""),
    ]  # fmt: skip
    assert len(problems_of(source)) == 1


def test_what_a_tar_holds_besides_is_named(tmp_path):
    info = tarfile.TarInfo("docs")
    info.type, info.linkname = tarfile.SYMTYPE, "/usr/share/doc"
    members = [
        *samples(0, 1),
        ("b.txt", b"no video"),
        ("c.pth", b"x"),
        (".cache/d.mp4", FILM),
        (info, b""),
    ]
    source = read(write_tar(tmp_path / "a.tar", members))
    assert captions_of(source) == {"000.mp4": "caption 000"}
    assert set(reasons_of(source)) == {
        f"a.tar/{n}" for n in ("b.txt", "c.pth", ".cache/d.mp4", "docs")
    }
    assert "hidden" in reasons_of(source)["a.tar/.cache/d.mp4"]


@pytest.mark.parametrize(
    ("videos", "taken"),
    [
        (["a.mp4", "a.webm"], ["a.mp4"]),
        (["a.mp4", "a.depth.mp4"], ["a.mp4"]),
        (["a.left.mp4", "a.right.mp4"], ["a.left.mp4", "a.right.mp4"]),
    ],
)
def test_other_videos_of_a_sample_are_named(tmp_path, videos, taken):
    members = [*((name, FILM) for name in videos), ("a.txt", b"a dog")]
    source = read(write_tar(tmp_path / "a.tar", members))
    assert captions_of(source) == dict.fromkeys(taken, "a dog")
    assert set(reasons_of(source)) == {f"a.tar/{name}" for name in videos if name not in taken}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"caption": ["a", "b"]}, "`caption` in a.json is a JSON array, must be a string"),
        ({"text": "x"}, "neither .txt nor `caption` in .json"),
        ([1], "a.json is a JSON array, must be an object"),
    ],
)
def test_a_json_caption_is_a_text(tmp_path, record, message):
    members = [("a.mp4", FILM), ("a.json", json.dumps(record).encode())]
    (problem,) = problems_of(read(write_tar(tmp_path / "a.tar", members)))
    assert message in problem
    large = json.dumps({"caption": "a dog", "subtitles": ["x" * 100] * 20_000}).encode()
    members[1] = ("a.json", large)
    assert captions_of(read(write_tar(tmp_path / "a.tar", members))) == {"a.mp4": "a dog"}


@pytest.mark.parametrize("name", ["A.TAR", "a::b.tar", "s3:a.tar", "a b#c?.tar"])
def test_names_of_tars(tmp_path, name):
    path = write_tar(tmp_path / "x::y" / name, samples(0, 2))
    for source in (path, path.parent):
        assert len(captions_of(read(source))) == 2


@pytest.mark.parametrize("name", ["a.tar.gz", "a.tgz"])
def test_compressed_tars_are_refused_by_name(tmp_path, name):
    path = write_tar(tmp_path / "a.tar", samples(0, 2))
    (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(UserError, match="compressed; unpack it to a plain"):
        read(tmp_path / name)
    assert [p for p in problems_of(read(tmp_path)) if "compressed with gzip" in p]


def test_classes_of_a_tar_are_read_as_in_training(tmp_path):
    members = [
        ("0.mp4", FILM), ("0.json", b'{"label": " a  cat "}'),
        ("1.mp4", FILM), ("1.json", b'{"label": 1.5, "cls": 3}'),
        ("2.mp4", FILM), ("2.json", b'{"label": 1.5, "caption": "a dog"}'),
    ]  # fmt: skip
    first, second, third = read(write_tar(tmp_path / "a.tar", members)).rows
    assert first.label == "a cat"
    assert second.problem == "no caption: 1.json: `label` must be a string or an integer"
    assert (third.prompt, third.label, third.problem) == ("a dog", "", "")
