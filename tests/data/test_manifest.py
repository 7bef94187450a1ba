"""Test that manifests are validated and compared with the shards."""

import json
import re

import pytest

from data_tools.build.destination import Destination
from data_tools.verify_shards import Verifier
from t2vgan.data import shards
from t2vgan.data.shards import (
    ShardEntry,
    write_shard,
)
from t2vgan.errors import UserError
from t2vgan.utils.files import sha256_of
from tests.support.shards import make_manifest, small_samples


def test_manifest_round_trip_and_checks(tmp_path):
    entries = [write_shard(tmp_path / f"s-{i}.tar", small_samples(2 + i)) for i in range(2)]
    manifest = make_manifest(*entries)
    shards.write_manifest(tmp_path, manifest)
    assert shards.load_manifest(tmp_path) == manifest
    assert manifest.num_samples == 5
    shards.check_shards(tmp_path, manifest)
    for entry in entries:
        assert sha256_of(tmp_path / entry.name) == entry.sha256


def test_fingerprint_follows_the_content():
    entry = ShardEntry(name="s.tar", num_samples=1, num_bytes=10, sha256="a" * 64)
    first = make_manifest(entry)
    assert first.fingerprint == make_manifest(entry).fingerprint
    other = make_manifest(entry.model_copy(update={"sha256": "b" * 64}))
    assert other.fingerprint != first.fingerprint


def test_shards_that_disagree_with_the_manifest_are_named(tmp_path):
    entry = write_shard(tmp_path / "s.tar", small_samples())
    manifest = make_manifest(entry)
    data = bytearray((tmp_path / "s.tar").read_bytes())
    data[700] ^= 1
    (tmp_path / "s.tar").write_bytes(data)
    shards.check_shards(tmp_path, manifest)  # same size: only the checksum can tell
    (problem,) = (p for p in Verifier(Destination(tmp_path), manifest).problems() if "sha256" in p)
    assert re.search(rf"s\.tar: expected sha256 {entry.sha256}, found [0-9a-f]+", problem)
    (tmp_path / "s.tar").write_bytes(data[:1000])
    with pytest.raises(UserError, match=rf"expected {entry.num_bytes} bytes, found 1000; .*repair"):
        shards.check_shards(tmp_path, manifest)
    (tmp_path / "s.tar").unlink()
    with pytest.raises(UserError, match=r"s\.tar is missing.*repair"):
        shards.check_shards(tmp_path, manifest)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            None,
            "has no manifest.json, so it is not a finished data set",
        ),
        ("{", "not JSON"),
        ("[]", "format_version is None"),
        ('{"format_version": 99}', "format_version is 99, but this t2vgan reads 1"),
        ('{"format_version": 1}', "builder: Field required"),
    ],
)
def test_bad_manifests_are_refused_with_the_reason(tmp_path, text, reason):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=reason):
        shards.load_manifest(tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("shards", []),
        ("fps", 0),
        ("geometry", {"num_frames": 0, "height": 5, "width": 7}),
        ("name", "../s.tar"),
        ("name", "/s.tar"),
        ("name", ".hidden"),
        ("num_samples", 0),
        ("num_samples", 10**12),
        ("num_samples", 10**30),
        ("num_samples", 1.5),
        ("num_bytes", 1 << 41),
        ("geometry", {"num_frames": 10**6, "height": 10**4, "width": 10**4}),
        ("fps", float("nan")),
        ("prompts", {"a": 10**20}),
        ("prompts", {}),
        ("builder", "\ud800"),
        ("name", "s" * 5000),
    ],
)
def test_manifest_fields_are_validated(tmp_path, field, value):
    entry = ShardEntry(name="s.tar", num_samples=1, num_bytes=10, sha256="a" * 64)
    content = make_manifest(entry).model_dump(mode="json")
    (content["shards"][0] if field in content["shards"][0] else content)[field] = value
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="half of a surrogate" if field == "builder" else field):
        shards.load_manifest(tmp_path)


def test_shards_together_have_a_limit_of_samples(tmp_path):
    entries = [
        ShardEntry(name=f"{n}.tar", num_samples=10**8, num_bytes=10, sha256="a" * 64)
        for n in range(2)
    ]
    content = make_manifest(entries[0]).as_json()
    content["shards"] = [entry.without_sums().model_dump() for entry in entries]
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="at most 100,000,000 samples"):
        shards.load_manifest(tmp_path)


def test_missing_folder_names_the_remedy(tmp_path):
    with pytest.raises(
        UserError, match="does not exist; create it from your own videos with `t2vgan"
    ):
        shards.load_manifest(tmp_path / "nowhere")


def test_a_shard_in_the_place_of_the_folder_is_named(tmp_path):
    write_shard(tmp_path / "s.tar", small_samples())
    with pytest.raises(UserError, match=r"s\.tar is a file; give the folder of a manifest"):
        shards.load_manifest(tmp_path / "s.tar")


def test_a_manifest_of_no_libraries_loads_and_libraries_do_not_change_the_fingerprint(tmp_path):
    manifest = make_manifest(write_shard(tmp_path / "s.tar", small_samples()))
    shards.write_manifest(tmp_path, manifest)
    assert "libraries" not in json.loads((tmp_path / "manifest.json").read_text())
    content = manifest.as_json()
    del content["shards"][0]["pixel_sums"]  # nor do sums, which earlier versions did not have
    assert manifest.fingerprint == shards.fingerprint(content)
    versions = shards.library_versions()
    assert {"python", "webdataset", "pillow", "libwebp"} <= set(versions)
    newer = manifest.model_copy(update={"libraries": versions})
    shards.write_manifest(tmp_path, newer)
    loaded = shards.load_manifest(tmp_path)
    assert (loaded.libraries, loaded.fingerprint) == (versions, manifest.fingerprint)
