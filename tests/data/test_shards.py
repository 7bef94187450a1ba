"""Test that samples are read back as written, reproducibly, by any reader."""

import json
import re
import subprocess
import sys
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from t2vgan.config import Config, DataConfig
from t2vgan.data.batch_plan import check_num_shards
from t2vgan.data.mixture import open_data
from t2vgan.data.shards import (
    EncodedSample,
    decode_sample,
    encode_sample,
    read_samples,
    write_shard,
)
from tests.support.commands import ROOT
from tests.support.shards import GEOMETRY, noise, small_samples


def test_the_documented_example_makes_a_dataset_to_train_on(tmp_path, monkeypatch):
    page = (ROOT / "docs" / "data.md").read_text()
    (program,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(program, {})
    data = open_data(DataConfig(path="data/mine"))
    check_num_shards(Config(), 1, len(data.manifest.shards))
    assert data.manifest.num_samples == sum(data.manifest.prompts.values()) == 200


def test_sample_round_trip():
    frames = noise()
    sample = encode_sample("0001", frames, "größer werden", {"fps": 10.0, "tags": ["a"]})
    decoded, prompt = decode_sample(sample, GEOMETRY)
    np.testing.assert_array_equal(decoded, frames)
    assert prompt == "größer werden"
    assert json.loads(sample.members["json"]) == {"fps": 10.0, "tags": ["a"]}


@pytest.mark.parametrize("key", ["", "a.b", "a/b", "..", "ü", "x" * 81, "a b"])
def test_keys_that_a_tar_reader_would_split_are_refused(key):
    with pytest.raises(ValueError, match="key"):
        encode_sample(key, noise(), "prompt", {})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"txt": None}, "no prompt"),
        ({"txt": b"  \n"}, "prompt has no words"),
        ({"txt": "… -- !".encode()}, "prompt has no words"),
        ({"txt": b"\xff\xfe"}, "prompt is not UTF-8"),
        ({"txt": b"a cat " * 400_000}, "prompt has 2400000 bytes, more than the limit of 65536"),
        ({"webp": None}, "no film strip"),
        ({"webp": b""}, "not a WebP"),
        ({"webp": b"RIFF\0\0\0\0WEBPVP8L"}, "cut off"),
        ({"webp": b"GIF89a" + bytes(40)}, "not a WebP"),
    ],
)
def test_bad_samples_are_refused_with_the_reason(change, reason):
    members = encode_sample("0001", noise(), "prompt", {}).members | change
    members = {extension: data for extension, data in members.items() if data is not None}
    with pytest.raises(ValueError, match=reason):
        decode_sample(EncodedSample("0001", members), GEOMETRY)


def test_undecodable_pixels_are_refused():
    sample = encode_sample("0001", noise(), "prompt", {})
    sample.members["webp"] = sample.members["webp"][:40]
    with pytest.raises(ValueError, match="cannot be decoded"):
        decode_sample(sample, GEOMETRY)


names = st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True)


@given(
    content=st.dictionaries(
        names,
        st.dictionaries(
            st.sampled_from(["webp", "txt", "json"]), st.binary(max_size=1500), min_size=1
        ),
        min_size=1,
        max_size=6,
    ),
    skip=st.integers(0, 7),
)
@settings(max_examples=60, deadline=None)
def test_shard_round_trip_with_skip(tmp_path_factory, content, skip):
    path = tmp_path_factory.mktemp("shard") / "s.tar"
    samples = [EncodedSample(key, members) for key, members in content.items()]
    entry = write_shard(path, samples)
    assert list(read_samples(path, skip=skip)) == samples[skip:]
    assert entry.num_samples == len(samples)
    assert entry.num_bytes == path.stat().st_size
    with tarfile.open(path) as tar:  # the standard library agrees
        found = {info.name: tar.extractfile(info).read() for info in tar}
    assert found == {f"{s.key}.{e}": data for s in samples for e, data in s.members.items()}


def test_shards_are_byte_reproducible_and_anonymous(tmp_path):
    first = write_shard(tmp_path / "a" / "s.tar", small_samples())
    second = write_shard(tmp_path / "b" / "s.tar", small_samples())
    assert first == second
    with tarfile.open(tmp_path / "a" / "s.tar") as tar:
        for info in tar:
            assert (info.mtime, info.uid, info.gid, info.mode) == (0, 0, 0, 0o444)
            assert info.uname == info.gname == ""
            assert info.isreg()


def test_a_failing_source_leaves_no_shard(tmp_path):
    def samples():
        yield from small_samples(2)
        raise RuntimeError("renderer broke")

    with pytest.raises(RuntimeError):
        write_shard(tmp_path / "s.tar", samples())
    with pytest.raises(ValueError, match="at least one"):
        write_shard(tmp_path / "s.tar", [])
    assert list(tmp_path.iterdir()) == []


def test_webdataset_reads_the_same_samples(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    samples = small_samples(7)
    write_shard(tmp_path / "s.tar", samples)
    found = list(webdataset.WebDataset(str(tmp_path / "s.tar"), shardshuffle=False))
    assert [s["__key__"] for s in found] == [s.key for s in samples]
    for ours, theirs in zip(samples, found, strict=True):
        assert {k: v for k, v in theirs.items() if not k.startswith("__")} == ours.members


def test_we_read_what_webdataset_writes(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    samples = [*small_samples(3), EncodedSample("k" * 150, {"txt": b"a long key"})]
    with webdataset.TarWriter(str(tmp_path / "s.tar")) as writer:  # PAX headers, clock times
        for sample in samples:
            writer.write({"__key__": sample.key, **sample.members})
    found = list(read_samples(tmp_path / "s.tar"))
    assert [(s.key, dict(sorted(s.members.items()))) for s in found] == [
        (s.key, dict(sorted(s.members.items()))) for s in samples
    ]


def test_torch_is_not_imported(tmp_path):
    code = (
        "import sys, t2vgan.data.shards as s, numpy as np;"
        "g = s.Geometry(num_frames=2, height=4, width=4);"
        "sample = s.encode_sample('a', np.zeros((2, 4, 4, 3), np.uint8), 'prompt', {});"
        "s.write_shard(sys.argv[1], [sample]);"
        "s.decode_sample(next(s.read_samples(sys.argv[1])), g);"
        "assert 'webdataset' in sys.modules;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "s.tar")], check=True)
