"""Test new shard sizes, filters and mixes of finished datasets."""

import json
import re
from pathlib import Path

import pytest

from data_tools.build.reshard_plan import Selection, choose
from data_tools.build.scene_build import BuildPlan
from data_tools.build_shards import build
from data_tools.index_shards import index_shards
from data_tools.pack_videos import make_plan
from data_tools.reshard import ReshardOptions, reshard
from data_tools.videos.options import PackOptions
from t2vgan.data.shards import (
    EncodedSample,
    Geometry,
    load_manifest,
    read_samples,
    write_manifest,
    write_shard,
)
from tests.support.data_commands import files_in, run
from tests.support.shards import CLIP_GEOMETRY, clips_in, write_dataset


@pytest.fixture
def circles(tmp_path) -> Path:
    build(BuildPlan("circles", 50, 20, CLIP_GEOMETRY, seed=0), tmp_path / "circles", num_workers=1)
    return tmp_path / "circles"


PACKING = [
    *("--num-frames", "4", "--fps", "5", "--size", "32x32", "--rows-per-shard", "2"),
    *("--workers", "1"),
]


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


def test_headers_are_made_once(circles, tmp_path):
    """Every shard asks for the header, which counts all clips."""
    plan = choose([circles], Selection((1.0,), "", 0.0, False, 0), 7)
    assert plan.header is plan.header
    (tmp_path / "films.csv").write_text("video,prompt\na.mp4,a cat\n")
    options = PackOptions(str(tmp_path / "films.csv"), str(tmp_path / "out"))
    packing = make_plan(options)
    assert packing.header is packing.header


def test_mixes_follow_their_weights_in_every_shard(tmp_path):
    write_dataset(tmp_path / "a", [f"a{i}" for i in range(20)], levels=tuple(range(20)))
    write_dataset(tmp_path / "b", [f"b{i}" for i in range(10)], levels=tuple(range(10)))
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
    folder = write_dataset(
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
    """Indexed tars with a few bad samples can be resharded."""
    hashes = [digit * 32 for digit in "01248f"]
    folder = write_dataset(
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
                "bad4: perceptual_hash 'no hex' is not a hexadecimal number"]  # fmt: skip
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
    sets = [
        write_dataset(tmp_path / n, [f"{n}{i}" for i in range(5)], levels=range(5)) for n in "ab"
    ]
    reshard(ReshardOptions(sets, str(tmp_path / "new"), clips_per_shard=1, workers=1))
    manifest = load_manifest(tmp_path / "new")
    assert [entry.num_samples for entry in manifest.shards] == [2] * 5
    assert sorted(clips_in(tmp_path / "new")) == sorted(
        clip for folder in sets for clip in clips_in(folder)
    )


def test_a_mix_holds_out_what_no_part_trains_on(tmp_path):
    sets = []
    for name, held_out in (("a", ("b0", "x")), ("b", ("y", "x"))):
        folder = write_dataset(tmp_path / name, [f"{name}0", f"{name}1"])
        manifest = load_manifest(folder).model_copy(update={"held_out_prompts": held_out})
        write_manifest(folder, manifest)
        sets.append(folder)
    reshard(ReshardOptions(sets, str(tmp_path / "new"), workers=1))
    assert load_manifest(tmp_path / "new").held_out_prompts == ("x", "y")


def test_mixes_that_make_no_sense_are_one_line(tmp_path, circles):
    write_dataset(tmp_path / "a", ["x"])
    other = BuildPlan("circles", 4, 2, Geometry(num_frames=3, height=24, width=32), seed=0)
    build(other, tmp_path / "other", num_workers=1)
    for arguments, message in (
        ([circles, tmp_path / "other"], "data sets that are used together"),
        ([circles, "--weights", 1, 2], "give one number above 0 for each of the 1 data sets"),
        ([circles, "--match", "("], "--match '('"),
        ([circles, "--match", "zebra"], "no clip is left"),
        ([tmp_path / "a", "--min-motion", 1], "no `motion` and `perceptual_hash`"),
    ):
        result = run("reshard", *arguments, "--out", tmp_path / "out")
        assert result.returncode == 2, message
        assert message in result.stderr
        assert len(result.stderr.splitlines()) == 1
