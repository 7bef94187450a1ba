"""Folders of shards are shown and verified."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_tools.inspect_shards import select_clips, share_out
from t2vgan.data.shards import (
    EncodedSample,
    load_manifest,
    read_samples,
    write_manifest,
    write_shard,
)
from tests.support.data_commands import run


def test_inspect_shows_counts_and_writes_the_sheets(tmp_path, data):
    result = run("inspect_shards", data, "--out", tmp_path / "sheets")
    assert result.returncode == 0, result.stderr
    manifest = load_manifest(data)
    assert "50 clips in 3 shards" in result.stdout
    for prompt, count in manifest.prompts.items():
        assert re.search(rf"{re.escape(prompt)} +{count} +#", result.stdout)
    with Image.open(tmp_path / "sheets" / "contact_sheet.gif") as sheet:
        assert sheet.n_frames == 4
    image = np.asarray(Image.open(tmp_path / "sheets" / "contact_sheet.png").convert("RGB"))
    blue = (image == (0, 0, 255)).all(axis=2)
    assert blue.sum() > 18 * 4 * 5, "the circles are there, and blue"
    assert not (image == (255, 0, 0)).all(axis=2).any()


def test_verify_accepts_a_sound_folder(data):
    result = run("verify_shards", data)
    assert result.returncode == 0
    assert "50 clips in 3 shards, all sound" in result.stdout


def replace_shard(data: Path, index: int, samples: list[EncodedSample]) -> None:
    """Put another shard in place, the manifest agreeing with its bytes."""
    manifest = load_manifest(data)
    shards = list(manifest.shards)
    shards[index] = write_shard(data / shards[index].name, samples)
    write_manifest(data, manifest.model_copy(update={"shards": tuple(shards)}))


def test_verify_lists_every_problem(data):
    manifest = load_manifest(data)
    first, second = (list(read_samples(data / e.name)) for e in manifest.shards[:2])
    second[3].members["webp"] = second[3].members["webp"][:50]
    second[4].members["txt"] = b"..."
    second[5].members["json"] = b"{"
    second[6] = EncodedSample(first[0].key, second[6].members)
    replace_shard(data, 1, second)
    content = bytearray((data / manifest.shards[2].name).read_bytes())
    content[700] ^= 1  # inside the first member's bytes: only the checksum and the decoder see it
    (data / manifest.shards[2].name).write_bytes(content)
    result = run("verify_shards", data)
    assert result.returncode == 1
    assert "sample 00000023: strip cannot be decoded" in result.stdout
    assert "sample 00000024: prompt has no words" in result.stdout
    assert "sample 00000025: metadata is not JSON" in result.stdout
    assert "sample 00000000: key is already used in circles-00000.tar" in result.stdout
    assert "circles-00002.tar: expected sha256" in result.stdout
    assert re.search(r"prompt 'circle .*': expected \d+ clips, found \d+", result.stdout)
    assert re.search(r"\d+ problems", result.stdout)


@pytest.mark.parametrize("damage", ["missing", "truncated", "boundary", "foreign"])
def test_verify_names_the_damaged_shard(data, damage):
    shard = data / "circles-00001.tar"
    content = shard.read_bytes()
    if damage == "missing":
        shard.unlink()
    elif damage == "truncated":
        shard.write_bytes(content[:3000])
    elif damage == "boundary":
        samples = len(list(read_samples(shard)))
        assert samples == 20
        shard.write_bytes(content[:1024])
    else:
        shard.write_bytes(b"PK" + bytes(5000))
    result = run("verify_shards", data)
    assert result.returncode == 1
    assert "circles-00001.tar" in result.stdout
    assert "expected 20 samples, found" in result.stdout or damage == "missing"
    assert "circles-00000.tar" not in result.stdout


def test_pages_show_some_clips_of_every_prompt():
    assert share_out({"a": 9, "b": 9, "c": 1}, 6) == {"a": 3, "b": 2, "c": 1}
    assert share_out({"a": 1, "b": 0}, 6) == {"a": 1}
    assert list(share_out(dict.fromkeys("abcdef", 9), 3)) == ["a", "c", "e"]
    clips = [(prompt, np.full((1, 2, 2, 3), i)) for prompt in "ab" for i in range(4)]
    assert [(prompt, frames.max()) for prompt, frames in select_clips(clips, 5)] == [
        ("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1),
    ]  # fmt: skip
