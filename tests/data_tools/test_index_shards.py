"""Test that foreign tars are indexed, and unusable samples named."""

import os
import re
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import webdataset

from data_tools.index_shards import index_shards
from t2vgan.data.dataset import LocalDataset
from t2vgan.data.loader import ClipLoader
from t2vgan.data.mixture import single_dataset
from t2vgan.data.shards import (
    EncodedSample,
    Geometry,
    decode_sample,
    encode_sample,
    load_manifest,
    read_samples,
    write_shard,
)
from t2vgan.errors import UserError
from t2vgan.utils.console import format_error
from tests.support.data_commands import run
from tests.support.filming import Film, numbers_of, write_film
from tests.support.shards import CLIP_GEOMETRY, write_dataset
from tests.support.source_videos import ORIENTATIONS, corners, quarters


def test_tars_of_others_are_indexed(tmp_path):
    """Written by webdataset itself: strips, or films of one size."""
    for kind in ("jpg", "mp4"):
        folder = tmp_path / kind
        folder.mkdir()
        storage = {"jpg": "strip-jpg", "mp4": "mp4"}[kind]
        for shard in range(2):
            with webdataset.TarWriter(str(folder / f"{shard}.tar")) as tar:
                for i in range(3):
                    frames = np.full((4, 24, 32, 3), 40 * i + 20, np.uint8)
                    ours = encode_sample("x", frames, f"clip {i}", {"fps": 5}, storage=storage)
                    metadata = {"json": b'{"num_frames": 4}'} if kind == "jpg" else {}
                    members = {kind: ours.members[kind], "txt": ours.members["txt"], **metadata}
                    tar.write({"__key__": f"folder/{shard}{i}", **members})
        result = run("index_shards", folder, "--fps", 5)
        assert result.returncode == 0, result.stderr
        manifest = load_manifest(folder)
        assert manifest.geometry == CLIP_GEOMETRY
        assert manifest.prompts == {f"clip {i}": 2 for i in range(3)}
        assert run("verify_shards", folder).returncode == 0
        mixture = single_dataset(LocalDataset(folder, manifest))
        order = mixture.create_sampler(num_streams=2, shuffle_window=4, seed=0)
        with ClipLoader(mixture, order, global_batch_size=2) as loader:
            for batch in islice(loader, 3):
                for frames, prompt in zip(batch.frames, batch.prompts, strict=True):
                    assert numbers_of(frames[:1]) == [4 * int(prompt[-1])]


@pytest.mark.parametrize(("metadata", "fps"), [({}, 29.97), ({"json": b'{"fps": 12}'}, 12)])
def test_films_of_others_have_their_own_rate_and_orientation(tmp_path, metadata, fps):
    """A phone's film, turned and mirrored; a rate in .json is that of the clip."""
    rate = Fraction(30_000, 1001)
    film = Film(rate=rate, rotation=90, mirrored=True)
    for i in range(2):
        pictures = [quarters(32, 48)] * 4
        data = write_film(tmp_path / f"{i}.mp4", pictures, film).read_bytes()
        members = {"mp4": data, "txt": b"a film", **metadata}
        write_shard(tmp_path / "tars" / f"{i}.tar", [EncodedSample("a", members)])
    index_shards(tmp_path / "tars")
    manifest = load_manifest(tmp_path / "tars")
    assert manifest.fps == pytest.approx(fps, abs=1e-3)
    assert manifest.geometry == Geometry(num_frames=4, height=48, width=32)
    (sample,) = read_samples(tmp_path / "tars" / "0.tar")
    frames, _ = decode_sample(sample, manifest.geometry)
    assert corners(frames[0]) == ORIENTATIONS[90, True]


def test_indexing_names_what_cannot_be_used(tmp_path):
    samples = [
        encode_sample(f"a{i}", np.zeros((4, 24, 32, 3), np.uint8), "x", {"num_frames": 4})
        for i in range(4)
    ]
    samples[1].members["txt"] = b"..."
    samples[2].members["webp"] = b"torn"
    write_shard(tmp_path / "a.tar", samples)
    result = run("index_shards", tmp_path)
    assert result.returncode == 2
    assert "a.tar: sample a1: prompt has no words" in result.stdout
    assert "a.tar: sample a2: strip is not a WebP" in result.stdout
    assert "2 of 4 samples cannot be used" in result.stderr
    assert run("index_shards", tmp_path, "--max-bad-fraction", 0.5).returncode == 0
    assert load_manifest(tmp_path).num_samples == 4
    assert load_manifest(tmp_path).prompts == {"x": 2}
    assert "already has a manifest.json" in run("index_shards", tmp_path).stderr


def test_indexing_begins_with_the_first_sample_that_can_be_used(tmp_path, monkeypatch):
    """Earlier bad samples count; films are measured frame by frame."""
    frames = np.full((4, 24, 32, 3), 60, np.uint8)
    for storage in ("strip-webp", "mp4"):
        good = encode_sample("g", frames, "x", {"num_frames": 4, "fps": 5}, storage=storage).members
        torn = next(iter(good.values()))[:-200]
        bad = [{"webp": b"no picture"}, {"mp4": b"no film"}, {"mp4": torn}, {"mp4": b""}, {}]
        metadata = {"txt": b"x", "json": b'{"num_frames": 4}'}
        samples = [EncodedSample(f"a{i}", metadata | members) for i, members in enumerate(bad)]
        samples[-1].members["json"] = b"[" * 10**5
        samples += [EncodedSample(f"b{i}", good) for i in range(20)]
        write_shard(tmp_path / storage / "a.tar", samples)
        index_shards(tmp_path / storage, max_bad_fraction=0.2)
        manifest = load_manifest(tmp_path / storage)
        assert (manifest.geometry, manifest.prompts) == (CLIP_GEOMETRY, {"x": 20})
        (tmp_path / storage / "manifest.json").unlink()
        with pytest.raises(UserError, match="5 of 25 samples cannot be used"):
            index_shards(tmp_path / storage)
    write_shard(tmp_path / "long" / "a.tar", samples[-1:])
    monkeypatch.setattr("t2vgan.media.clips.MAX_CLIP_PIXELS", 3 * 24 * 32)
    with pytest.raises(UserError, match="sample b19: clips of more than 2304 pixels"):
        index_shards(tmp_path / "long")


@pytest.mark.parametrize("name", ["my shard.tar", "-a.tar", f"{'a' * 197}.tar", "é.tar"])
def test_a_name_that_no_manifest_may_hold_is_one_line_before_anything_is_read(tmp_path, name):
    (tmp_path / name).write_bytes(b"no tar")
    result = run("index_shards", tmp_path)
    assert result.returncode == 2
    assert f"{name}: rename it" in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"txt": b"x"}, "no .mp4 and no film strip"),
        ({"json": b"[", "webp": b"RIFF", "txt": b"x"}, "use --num-frames"),
        ({"json": b'{"num_frames": "4"}', "webp": b"RIFF", "txt": b"x"}, "use --num-frames"),
        ({"json": b'{"fps": "fast", "num_frames": 4}', "webp": b"RIFF"}, "below 1000; give --fps"),
    ],
)
def test_indexing_says_what_it_lacks(tmp_path, members, message):
    write_shard(tmp_path / "a.tar", [EncodedSample("a", members)])
    result = run("index_shards", tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_files_of_macos_are_no_tars(tmp_path, capsys):
    samples = [encode_sample("a", np.zeros(CLIP_GEOMETRY.shape, np.uint8), "x", {"num_frames": 4})]
    write_shard(tmp_path / "a.tar", samples)
    (tmp_path / "._a.tar").write_bytes(b"\0\5\x16\7")
    index_shards(tmp_path)
    assert load_manifest(tmp_path).num_samples == 1
    assert "ignored: ._a.tar: attributes of another file" in capsys.readouterr().out


def add_bytes(path: Path) -> None:
    path.write_bytes(path.read_bytes() * 2)


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (add_bytes, "bytes follow the end marker"),
        (make_pipe, "not a regular file"),
        (lambda path: os.truncate(path, 1024), "truncated"),
    ],
)
def test_a_tar_that_a_loader_would_read_in_part_is_refused(tmp_path, damage, message):
    samples = [
        encode_sample(f"a{i}", np.zeros(CLIP_GEOMETRY.shape, np.uint8), "x", {"num_frames": 4})
        for i in range(2)
    ]
    for name in ("a.tar", "b.TAR"):
        write_shard(tmp_path / name, samples)
    damage(tmp_path / "b.TAR")
    with pytest.raises((UserError, OSError)) as error:
        index_shards(tmp_path)
    assert "b.TAR" in format_error(error.value)
    assert message in format_error(error.value)
    assert not (tmp_path / "manifest.json").exists()


def test_the_page_shows_hostile_prompts_as_text(tmp_path):
    hostile = [
        "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&lt;b&gt; bold",
        "a \u202egod", "a dog runs",
    ]  # fmt: skip
    folder = write_dataset(tmp_path / "a", hostile)
    result = run("inspect_shards", folder, "--out", tmp_path / "seen", "--num-page-clips", 5)
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "seen" / "contact_sheet.html").read_text()
    assert page.count("<figure>") == 5
    assert page.count("<script>") == 1
    assert "<img src=x" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&amp;lt;b&amp;gt; bold" in page
    assert "default-src 'none'" in page
    assert not re.search(r"""(src|href)=["']?(?!data:)\w+:""", page), "it loads nothing"
    assert "\u202e" not in result.stdout
