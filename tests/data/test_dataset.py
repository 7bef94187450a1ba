"""Finished data sets: repaired, indexed, resharded, looked at; and damaged in a thousand ways."""

import json
import re
from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import webdataset

from data_tools.build.destination import Destination
from data_tools.build.scene_build import BuildPlan
from data_tools.build_shards import build
from data_tools.index_shards import index_shards
from data_tools.reshard import ReshardOptions, reshard
from data_tools.verify_shards import Verifier
from t2vgan.data.dataset import LocalDataSet
from t2vgan.data.loader import ClipLoader
from t2vgan.data.mixture import alone
from t2vgan.data.shards import (
    EncodedSample,
    Geometry,
    Manifest,
    decode_sample,
    encode_sample,
    fingerprint,
    load_manifest,
    read_samples,
    write_manifest,
    write_shard,
)
from t2vgan.errors import UserError
from tests.data_tools.test_data_tools import files_in, run
from tests.support.filming import counting, numbers_of, write_film

GEOMETRY = Geometry(num_frames=4, height=24, width=32)
PACKING = [
    *("--num-frames", "4", "--fps", "5", "--size", "32x32", "--rows-per-shard", "2"),
    *("--workers", "1"),
]


@pytest.fixture
def circles(tmp_path) -> Path:
    build(BuildPlan("circles", 50, 20, GEOMETRY, seed=0), tmp_path / "circles", num_workers=1)
    return tmp_path / "circles"


def clips_in(folder: Path) -> list[tuple[str, bytes]]:
    """Return (prompt, picture) of every clip, in order."""
    samples = (s for e in load_manifest(folder).shards for s in read_samples(folder / e.name))
    return [(s.members["txt"].decode(), s.members["webp"]) for s in samples]


def make_set(
    folder: Path,
    prompts: list[str],
    *,
    key: str = "k",
    levels: tuple[int, ...] = (),
    **told: object,
) -> Path:
    """A data set of one shard for every two clips, clip i of brightness 10 * i + 20."""
    entries = []
    for first in range(0, len(prompts), 2):
        samples = []
        for i in range(first, min(first + 2, len(prompts))):
            level = levels[i] if levels else 10 * i + 20
            frames = np.full((4, 24, 32, 3), level, np.uint8)
            metadata = {"fps": 5, **{name: value[i] for name, value in told.items()}}
            samples.append(encode_sample(f"{key}{i}", frames, prompts[i], metadata))
        entries.append(write_shard(folder / f"set-{first:03d}.tar", samples))
    write_manifest(
        folder,
        Manifest(
            builder="test", builder_version="1", builder_config={},
            builder_fingerprint=fingerprint(key), geometry=GEOMETRY, fps=5, shards=entries,
            prompts={prompt: prompts.count(prompt) for prompt in prompts},
        ),
    )  # fmt: skip
    return folder


# ---- repair_shards -----------------------------------------------------------------------------


def test_repair_makes_exactly_the_damaged_shards(tmp_path):
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    for name in "abcdef":
        write_film(videos / f"{name}.mp4", counting(8))
        (videos / f"{name}.txt").write_text(f"film {name}")
    assert run("pack_videos", videos, "--out", out, *PACKING).returncode == 0
    before = files_in(out)
    whole = {p: p.stat().st_mtime_ns for p in out.glob("*.tar") if "000001" not in p.name}
    (out / "videos-000001.tar").write_bytes(b"")
    assert run("repair_shards", out).returncode == 2, "without its source"
    result = run("repair_shards", out, "--source", videos)
    assert result.returncode == 0, result.stderr
    assert "videos-000001.tar: mended" in result.stdout
    assert files_in(out) == before
    assert whole == {path: path.stat().st_mtime_ns for path in whole}
    assert "all whole" in run("repair_shards", out).stdout
    (out / "videos-000002.tar").unlink()
    write_film(videos / "e.mp4", counting(8)[::-1])
    result = run("repair_shards", out, "--source", videos)
    assert result.returncode == 1
    assert "videos-000002.tar: made again, with OTHER bytes" in result.stdout
    assert run("verify_shards", out).returncode == 0


def test_repair_renders_scenes_again(circles):
    before = files_in(circles)
    (circles / "circles-00002.tar").unlink()
    assert run("repair_shards", circles).returncode == 0
    assert files_in(circles) == before


# ---- index_shards ------------------------------------------------------------------------------


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
                    told = {"json": b'{"num_frames": 4}'} if kind == "jpg" else {}
                    members = {kind: ours.members[kind], "txt": ours.members["txt"], **told}
                    tar.write({"__key__": f"folder/{shard}{i}", **members})
        result = run("index_shards", folder, "--fps", 5)
        assert result.returncode == 0, result.stderr
        manifest = load_manifest(folder)
        assert manifest.geometry == GEOMETRY
        assert manifest.prompts == {f"clip {i}": 2 for i in range(3)}
        assert run("verify_shards", folder).returncode == 0
        mixture = alone(LocalDataSet(folder, manifest))
        order = mixture.order(num_streams=2, shuffle_window=4, seed=0)
        with ClipLoader(mixture, order, global_batch_size=2) as loader:
            for batch in islice(loader, 3):
                for frames, prompt in zip(batch.frames, batch.prompts, strict=True):
                    assert numbers_of(frames[:1]) == [4 * int(prompt[-1])]


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
    assert "has a manifest.json already" in run("index_shards", tmp_path).stderr


def test_indexing_begins_with_the_first_sample_that_can_be_used(tmp_path, monkeypatch):
    """Bad ones before it are bad like any other; a film is measured one picture at a time."""
    frames = np.full((4, 24, 32, 3), 60, np.uint8)
    for storage in ("strip-webp", "mp4"):
        good = encode_sample("g", frames, "x", {"num_frames": 4, "fps": 5}, storage=storage).members
        torn = next(iter(good.values()))[:-200]
        bad = [{"webp": b"no picture"}, {"mp4": b"no film"}, {"mp4": torn}, {"mp4": b""}, {}]
        told = {"txt": b"x", "json": b'{"num_frames": 4}'}
        samples = [EncodedSample(f"a{i}", told | members) for i, members in enumerate(bad)]
        samples[-1].members["json"] = b"[" * 10**5
        samples += [EncodedSample(f"b{i}", good) for i in range(20)]
        write_shard(tmp_path / storage / "a.tar", samples)
        index_shards(tmp_path / storage, max_bad_fraction=0.2)
        manifest = load_manifest(tmp_path / storage)
        assert (manifest.geometry, manifest.prompts) == (GEOMETRY, {"x": 20})
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
        ({"json": b"[", "webp": b"RIFF", "txt": b"x"}, "give --num-frames"),
        ({"json": b'{"num_frames": "4"}', "webp": b"RIFF", "txt": b"x"}, "give --num-frames"),
        ({"json": b'{"fps": "fast", "num_frames": 4}', "webp": b"RIFF"}, "no rate; give --fps"),
    ],
)
def test_indexing_says_what_it_lacks(tmp_path, members, message):
    write_shard(tmp_path / "a.tar", [EncodedSample("a", members)])
    result = run("index_shards", tmp_path)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1


# ---- reshard -----------------------------------------------------------------------------------


def test_other_shard_sizes_keep_every_clip(tmp_path, circles):
    result = run("reshard", circles, "--out", tmp_path / "new", "--clips-per-shard", 7)
    assert result.returncode == 0, result.stderr
    manifest = load_manifest(tmp_path / "new")
    sizes = [entry.num_samples for entry in manifest.shards]
    assert (len(sizes), sum(sizes), set(sizes)) == (8, 50, {6, 7})
    assert sorted(clips_in(tmp_path / "new")) == sorted(clips_in(circles))
    assert manifest.prompts == load_manifest(circles).prompts
    assert run("verify_shards", tmp_path / "new").returncode == 0
    again = run("reshard", circles, "--out", tmp_path / "new", "--clips-per-shard", 7)
    assert "already complete" in again.stdout
    result = run("reshard", circles, "--out", tmp_path / "new", "--clips-per-shard", 8)
    assert "clips_per_shard=7, not 8" in result.stderr


def test_mixes_follow_their_weights_in_every_shard(tmp_path):
    make_set(tmp_path / "a", [f"a{i}" for i in range(20)], levels=tuple(range(20)))
    make_set(tmp_path / "b", [f"b{i}" for i in range(10)], levels=tuple(range(10)))
    options = ["--clips-per-shard", 10, "--weights", 0.5, 2]
    for workers in (1, 2):
        out = tmp_path / f"new{workers}"
        result = run(
            "reshard", tmp_path / "a", tmp_path / "b", "--out", out, *options, "--workers", workers
        )
        assert result.returncode == 0, result.stderr
    assert files_in(tmp_path / "new1") == files_in(tmp_path / "new2")
    manifest = load_manifest(tmp_path / "new1")
    assert manifest.num_samples == 30
    for entry in manifest.shards:
        prompts = [s.members["txt"].decode() for s in read_samples(tmp_path / "new1" / entry.name)]
        assert 3 <= sum(p.startswith("a") for p in prompts) <= 4, "each shard holds its share"
    counts = manifest.prompts
    assert sum(count for prompt, count in counts.items() if prompt[0] == "a") == 10
    assert all(counts[f"b{i}"] == 2 for i in range(10))
    assert max(counts[p] for p in counts if p[0] == "a") == 1


def test_filters_read_what_packing_measured(tmp_path):
    low, high, odd = 2**64 - 1, 2**128 - 2**64, int("5" * 32, 16)
    far = [f"{i:032x}" for i in (low, high, odd, low - 1)]  # the last is nearly the first
    folder = make_set(
        tmp_path / "a", ["a dog", "a cat", "two dogs", "a dog again"],
        motion=[5.0, 0.1, 3.0, 4.0], perceptual_hash=far,
    )  # fmt: skip

    def prompts_with(*options: object) -> set[str]:
        out = tmp_path / re.sub(r"\W", "", "".join(map(str, options)))
        result = run("reshard", folder, "--out", out, *options)
        assert result.returncode == 0, result.stderr
        return set(load_manifest(out).prompts)

    assert prompts_with("--match", "dog") == {"a dog", "two dogs", "a dog again"}
    assert prompts_with("--min-motion", 1) == {"a dog", "two dogs", "a dog again"}
    assert prompts_with("--drop-duplicates") == {"a dog", "a cat", "two dogs"}


def test_samples_that_cannot_be_used_are_named_and_left_out(tmp_path, capsys):
    """Index takes tars with a few bad samples, and reshard what index took."""
    hashes = [digit * 32 for digit in "01248f"]
    folder = make_set(
        tmp_path / "a", [f"clip {i}" for i in range(6)], motion=[5.0] * 6, perceptual_hash=hashes
    )
    bad = (
        {"txt": "caf\xe9".encode("latin-1")},
        {"txt": b" "},
        {"json": b"["},
        {"json": b"[" * 10**5},
    )
    hash = {"json": json.dumps({"motion": 5.0, "perceptual_hash": "no hex"}).encode()}
    samples = list(read_samples(folder / "set-000.tar"))
    samples += [
        EncodedSample(f"bad{i}", samples[0].members | b) for i, b in enumerate((*bad, hash))
    ]
    write_shard(folder / "set-000.tar", samples)
    (folder / "manifest.json").unlink()
    index_shards(folder, num_frames=4, max_bad_fraction=0.5)
    captions = ["bad0: prompt is not UTF-8", "bad1: prompt has no words"]
    metadata = ["bad2: metadata is not JSON", "bad3: metadata is not JSON",
                "bad4: perceptual_hash 'no hex' is no hexadecimal number"]  # fmt: skip
    for name, num_kept, faults, options in (
        ("plain", 9, captions, {}),
        ("moving", 6, captions + metadata, {"min_motion": 1.0, "drop_duplicates": True}),
    ):
        capsys.readouterr()
        reshard(ReshardOptions([folder], str(tmp_path / name), workers=1, **options))
        printed = capsys.readouterr().out
        assert re.findall("set-000.tar: sample (.*)", printed) == faults
        assert f"{len(faults)} samples cannot be used and are left out" in printed
        assert f"{folder}: {num_kept} of 11 clips" in printed
        assert len(clips_in(tmp_path / name)) == num_kept


def test_small_shards_of_several_data_sets_are_never_empty(tmp_path):
    sets = [make_set(tmp_path / n, [f"{n}{i}" for i in range(5)], levels=range(5)) for n in "ab"]
    reshard(ReshardOptions(sets, str(tmp_path / "new"), clips_per_shard=1, workers=1))
    manifest = load_manifest(tmp_path / "new")
    assert [entry.num_samples for entry in manifest.shards] == [2] * 5
    assert sorted(clips_in(tmp_path / "new")) == sorted(
        clip for folder in sets for clip in clips_in(folder)
    )


def test_a_mix_holds_out_what_no_part_trains_on(tmp_path):
    sets = []
    for name, held_out in (("a", ("b0", "x")), ("b", ("y", "x"))):
        folder = make_set(tmp_path / name, [f"{name}0", f"{name}1"])
        manifest = load_manifest(folder).model_copy(update={"held_out_prompts": held_out})
        write_manifest(folder, manifest)
        sets.append(folder)
    reshard(ReshardOptions(sets, str(tmp_path / "new"), workers=1))
    assert load_manifest(tmp_path / "new").held_out_prompts == ("x", "y")


def test_mixes_that_make_no_sense_are_one_line(tmp_path, circles):
    make_set(tmp_path / "a", ["x"])
    other = BuildPlan("circles", 4, 2, Geometry(num_frames=3, height=24, width=32), seed=0)
    build(other, tmp_path / "other", num_workers=1)
    for arguments, message in (
        ([circles, tmp_path / "other"], "data sets to mix need the same"),
        ([circles, "--weights", 1, 2], "give one above 0 for each of the 1 data sets"),
        ([circles, "--match", "("], "--match '('"),
        ([circles, "--match", "zebra"], "no clip is left"),
        ([tmp_path / "a", "--min-motion", 1], "no `motion` and `perceptual_hash`"),
    ):
        result = run("reshard", *arguments, "--out", tmp_path / "out")
        assert result.returncode == 2, message
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1


# ---- the page ----------------------------------------------------------------------------------


def test_the_page_shows_hostile_prompts_as_text(tmp_path):
    hostile = [
        "<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "&lt;b&gt; bold",
        "a \u202egod", "a dog runs",
    ]  # fmt: skip
    folder = make_set(tmp_path / "a", hostile)
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


# ---- a thousand corruptions ---------------------------------------------------------------------


def corrupt(data: bytes, rng: np.random.Generator) -> bytes:
    """Flip, cut, overwrite, drop or insert somewhere; never return the same bytes."""
    place, length = int(rng.integers(len(data))), int(rng.integers(1, 600))
    match rng.integers(6):
        case 0:
            damaged = bytearray(data)
            damaged[place] ^= 1 << int(rng.integers(8))
            return bytes(damaged)
        case 1:
            return data[:place]
        case 2:
            return data[:place] + rng.bytes(length) + data[place + length :]
        case 3:
            return data[:place] + data[place + length :]
        case 4:
            return data[:place] + rng.bytes(length) + data[place:]
        case _:
            block = place // 512 * 512
            return data[:block] + bytes(512) + data[block + 512 :]


def read_epoch(folder: Path, manifest: Manifest, *, checked: bool) -> tuple[int, int]:
    """Return how many clips an epoch of the loader gives, and how many of them it called bad."""
    mixture = alone(LocalDataSet(folder, manifest))
    order = mixture.order(num_streams=2, shuffle_window=4, seed=0)
    options = {"global_batch_size": 2, "verify_checksums": checked}
    with ClipLoader(mixture, order, **options) as loader:
        batches = list(islice(loader, order.parts[0].stream_length))
    return sum(len(b.keys) for b in batches), sum(len(b.bad_samples) for b in batches)


@pytest.mark.parametrize(
    "num_corruptions", [100, pytest.param(1000, marks=pytest.mark.system)]
)  # fmt: skip
def test_every_corruption_is_found_and_none_crashes_the_loader(tmp_path, num_corruptions):
    folder = make_set(tmp_path / "a", [f"clip {i % 3}" for i in range(12)])
    manifest = load_manifest(folder)
    assert not list(Verifier(Destination(folder), manifest).problems())
    assert read_epoch(folder, manifest, checked=True) == (12, 0)
    rng = np.random.default_rng(0)
    outcomes: Counter[str] = Counter()
    for _ in range(num_corruptions):
        entry = manifest.shards[int(rng.integers(len(manifest.shards)))]
        shard = folder / entry.name
        whole = shard.read_bytes()
        damaged = corrupt(whole, rng)
        if damaged == whole:
            continue
        shard.write_bytes(damaged)
        assert list(Verifier(Destination(folder), manifest).problems()), "verify finds it"
        assert read_epoch(folder, manifest, checked=True) == (12, entry.num_samples)
        try:  # and without checksums: clips that are counted, or no good one left in a window
            num_clips, num_bad = read_epoch(folder, manifest, checked=False)
            assert num_clips == 12, "the order never shifts"
            outcomes["counted" if num_bad else "harmless"] += 1
        except UserError as error:
            outcomes["refused" if entry.name in str(error) else "unnamed"] += 1
        shard.write_bytes(whole)
    assert not outcomes["unnamed"]
    assert outcomes["counted"] > outcomes["refused"] + outcomes["harmless"], outcomes


def test_metadata_of_the_fuzz_is_real(tmp_path):
    """The fuzz would prove nothing on shards that are not read: every clip is there."""
    folder = make_set(tmp_path / "a", [f"clip {i % 3}" for i in range(12)])
    manifest = load_manifest(folder)
    for index, entry in enumerate(manifest.shards):
        for place, sample in enumerate(read_samples(folder / entry.name)):
            frames, _ = decode_sample(sample, manifest.geometry)
            assert numbers_of(frames[:1]) == [2 * index + place]
            assert json.loads(sample.members["json"])["fps"] == 5
