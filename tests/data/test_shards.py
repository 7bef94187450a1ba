"""The sample format: what is written is read back, and nothing foreign gets in."""

import io
import json
import re
import struct
import subprocess
import sys
import tarfile

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data_tools.build.destination import Destination
from data_tools.verify_shards import Verifier
from t2vgan.data import shards
from t2vgan.data.shards import (
    EncodedSample,
    Geometry,
    Manifest,
    ShardEntry,
    ShardError,
    decode_sample,
    decode_strip,
    encode_sample,
    encode_strip,
    read_samples,
    write_shard,
)
from t2vgan.data.tar import MAX_MEMBER_BYTES, read_members
from t2vgan.data.webp import encode_flat
from t2vgan.errors import UserError
from t2vgan.utils.files import sha256_of

GEOMETRY = Geometry(num_frames=3, height=5, width=7)


def noise(geometry: Geometry = GEOMETRY, seed: int = 0) -> np.ndarray:
    shape = (geometry.num_frames, geometry.height, geometry.width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def small_samples(num_samples: int = 4) -> list[EncodedSample]:
    return [
        encode_sample(f"{i:04d}", noise(seed=i), f"prompt {i}", {"fps": 10.0, "number": i})
        for i in range(num_samples)
    ]


def make_manifest(*entries: ShardEntry) -> Manifest:
    return Manifest(
        builder="test",
        builder_version="1",
        builder_config={"seed": 0},
        builder_fingerprint="0" * 64,
        geometry=GEOMETRY,
        fps=10.0,
        shards=entries,
        prompts={"a prompt": sum(entry.num_samples for entry in entries)},
    )


def tar_with(*members: tuple[tarfile.TarInfo, bytes], format: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def member(name: str, data: bytes = b"data", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, data


# ---- film strips -------------------------------------------------------------------------------


@st.composite
def flat_images(draw: st.DrawFn) -> np.ndarray:
    """Images of random runs of random colours, from one pixel to many long runs."""
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    palette = random.integers(0, 256, (draw(st.integers(1, 300)), 3), dtype=np.uint8)
    longest = draw(st.sampled_from([1, 2, 3, 9, 40, 500]))
    indexes = random.integers(0, len(palette), height * width)
    runs = random.integers(1, longest + 1, height * width)
    return palette[indexes].repeat(runs, axis=0)[: height * width].reshape(height, width, 3)


@given(flat_images())
@settings(max_examples=200, deadline=None)
def test_flat_images_decode_to_the_same_pixels_in_two_decoders(image):
    data = encode_flat(image)
    if data is None:
        runs = 1 + (np.diff(image.reshape(-1, 3).astype(int), axis=0) != 0).any(axis=1).sum()
        assert runs > 256, "only many runs or many colours are refused"
        return
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), 1)[..., ::-1], image)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), image)


def test_flat_runs_longer_than_a_copy_can_be():
    image = np.full((100, 200, 3), 9, np.uint8)
    image[50, 3] = 200
    data = encode_flat(image)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), image)
    assert len(data) < 150


def test_flat_deep_huffman_tree_is_cut_to_15_bits():
    # Fibonacci frequencies make the deepest tree there is: unbounded it would need 20 bits.
    counts = [1, 1]
    while len(counts) < 21:
        counts.append(counts[-1] + counts[-2])
    random = np.random.default_rng(0)
    indexes = random.permutation(np.repeat(np.arange(21), counts))
    palette = random.integers(0, 256, (21, 3), dtype=np.uint8)
    image = palette[indexes.repeat(9)]
    image = image[: len(image) // 200 * 200].reshape(-1, 200, 3)
    data = encode_flat(image)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), image)


@given(
    num_frames=st.integers(1, 6),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    num_values=st.sampled_from([1, 2, 256]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=50, deadline=None)
def test_strips_are_lossless(num_frames, height, width, num_values, seed):
    geometry = Geometry(num_frames=num_frames, height=height, width=width)
    frames = noise(geometry, seed) & np.uint8(num_values - 1)
    data = encode_strip(frames)
    assert data[:4] == b"RIFF"
    assert data[8:12] == b"WEBP"
    np.testing.assert_array_equal(decode_strip(data, geometry), frames)
    batch = np.zeros((3, *geometry.shape), np.uint8)
    assert np.shares_memory(decode_strip(data, geometry, out=batch[1]), batch)
    np.testing.assert_array_equal(batch, np.stack([0 * frames, frames, 0 * frames]))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_strips_of_other_formats_are_read_right_side_up_with_right_colours(suffix):
    geometry = Geometry(num_frames=2, height=16, width=24)
    frames = np.zeros((2, 16, 24, 3), np.uint8)
    frames[0, :8] = (0, 0, 255)
    frames[1, :, :12] = (255, 128, 0)
    data = cv2.imencode(suffix, frames.reshape(32, 24, 3)[..., ::-1])[1].tobytes()
    decoded = decode_strip(data, geometry)
    assert np.abs(decoded.astype(int) - frames).mean() < (0.01 if suffix == ".png" else 12)


@pytest.mark.parametrize(
    ("height", "width"), [(4, 7), (5, 8), (50, 7)], ids=["fewer", "wider", "longer"]
)
def test_strip_of_another_geometry_is_refused(height, width):
    other = noise(Geometry(num_frames=3, height=height, width=width))
    with pytest.raises(ValueError, match=r"strip is \d+x\d+ pixels, expected 7x15"):
        decode_strip(encode_strip(other), GEOMETRY)


def claim_huge(data: bytes) -> bytes:
    """Return a strip whose header claims the largest size its format can name."""
    if data[:4] == b"RIFF":
        return data[:21] + struct.pack("<I", 0x0FFFFFFF) + data[25:]
    if data[:4] == b"\x89PNG":
        return data[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + data[24:]
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + b"\xff\xff\xff\xff" + data[place + 4 :]


@pytest.mark.parametrize("suffix", [".webp", ".png", ".jpg"])
def test_a_claimed_huge_size_is_refused_before_decoding(suffix, monkeypatch):
    strip = noise().reshape(15, 7, 3)
    flags = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []
    data = claim_huge(cv2.imencode(suffix, strip, flags)[1].tobytes())
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded a bomb"))
    with pytest.raises(ValueError, match="expected 7x15"):
        decode_strip(data, GEOMETRY)


@given(cut=st.integers(0, 400), flip=st.integers(0, 400 * 8))
@settings(max_examples=200, deadline=None)
def test_damaged_strips_raise_value_error_or_decode_to_the_geometry(cut, flip):
    data = bytearray(encode_strip(noise()))
    flip %= len(data) * 8
    data[flip // 8] ^= 1 << flip % 8
    try:
        frames = decode_strip(bytes(data[: max(cut, 1)]), GEOMETRY)
    except ValueError:
        return
    assert frames.shape == (3, 5, 7, 3)


@pytest.mark.parametrize(
    "frames", [np.zeros((2, 3, 4, 1), np.uint8), np.zeros((2, 3, 4, 3), np.float32)]
)
def test_frames_of_another_type_are_refused(frames):
    with pytest.raises(ValueError, match=r"\(T, H, W, 3\) uint8"):
        encode_strip(frames)


def test_a_strip_too_long_for_webp_is_refused():
    with pytest.raises(ValueError, match="16383"):
        encode_strip(np.zeros((40, 512, 8, 3), np.uint8))


# ---- samples -----------------------------------------------------------------------------------


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


# ---- shards ------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_folders_and_strangers_in_foreign_tars(tmp_path, format):
    folder = "a-folder-with-a-name/" * 6
    members = [
        member("README", b"no extension: belongs to no sample"),
        member(folder + "one.TXT", b"1"),
        member(folder + "one.webp", b"2"),
        (member("dir", type=tarfile.DIRTYPE)[0], b""),
        member("./two.clean.json", b"3"),
    ]
    members[3][0].size = 0
    (tmp_path / "s.tar").write_bytes(tar_with(*members, format=format))
    expected = [
        EncodedSample(folder + "one", {"txt": b"1", "webp": b"2"}),
        EncodedSample("./two", {"clean.json": b"3"}),
    ]
    assert list(read_samples(tmp_path / "s.tar")) == expected
    assert list(read_samples(tmp_path / "s.tar", skip=1)) == expected[1:]


@pytest.mark.parametrize(
    ("info", "reason"),
    [
        (member("../evil.txt"), "leads out"),
        (member("a/../../evil.txt"), "leads out"),
        (member("/etc/evil.txt"), "leads out"),
        (member("a.txt", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd"), "no regular file"),
        (member("a.txt", b"", type=tarfile.LNKTYPE, linkname="b"), "no regular file"),
        (member("a.txt", b"", type=tarfile.CHRTYPE), "no regular file"),
        (member("a.txt", b"", type=tarfile.BLKTYPE), "no regular file"),
        (member("a.txt", b"", type=tarfile.FIFOTYPE), "no regular file"),
    ],
    ids=lambda value: value[0].name + value[0].type.decode() if isinstance(value, tuple) else "",
)
@pytest.mark.parametrize("skip", [0, 5])
def test_hostile_members_are_refused(tmp_path, info, reason, skip):
    (tmp_path / "s.tar").write_bytes(tar_with(member("ok.txt"), info))
    with pytest.raises(ShardError, match=rf"s\.tar: .*{reason}"):
        list(read_samples(tmp_path / "s.tar", skip=skip))


def with_size(size_field: bytes) -> bytes:
    """Return a tar whose first header claims another size, its checksum right."""
    data = bytearray(tar_with(member("a.txt")))
    data[124:136] = size_field
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    return bytes(data)


@pytest.mark.parametrize(
    ("size_field", "reason"),
    [
        (b"%011o\0" % (MAX_MEMBER_BYTES + 1), "limit"),
        (b"77777777777\0", "limit"),
        (b"%011o\0" % 1_000_000, "truncated inside 'a.txt': 1000000 bytes expected"),
        (b"\x80" + b"\xff" * 11, "no tar header"),
        (b"-0000000004\0", "claims -4 bytes"),
    ],
)
@pytest.mark.parametrize("skip", [0, 5])
def test_lying_sizes_are_refused_without_reading_them(tmp_path, size_field, reason, skip):
    (tmp_path / "s.tar").write_bytes(with_size(size_field))
    with pytest.raises(ShardError, match=reason):
        list(read_samples(tmp_path / "s.tar", skip=skip))


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "s.tar"
    write_shard(path, small_samples(2))
    whole = path.read_bytes()
    end = len(whole.rstrip(b"\0")) + 511 & ~511  # where the end marker begins
    assert whole[end : end + 1024] == bytes(1024)
    cuts = [0, 1, 511, 512, 513, *range(512, end + 1024, 512), end + 1023]
    for cut in cuts:  # member boundaries among them
        path.write_bytes(whole[:cut])
        for skip in (0, 9):
            with pytest.raises(ShardError, match="truncated"):
                list(read_samples(path, skip=skip))
    path.write_bytes(whole[: end + 1024])
    assert len(list(read_samples(path))) == 2


def test_every_flipped_bit_in_a_header_is_noticed_or_harmless(tmp_path):
    write_shard(tmp_path / "s.tar", small_samples(1))
    whole = (tmp_path / "s.tar").read_bytes()
    members = list(read_members(io.BytesIO(whole), "s.tar"))
    assert len(members) == 3
    for bit in range(512 * 8):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            assert list(read_members(io.BytesIO(damaged), "s.tar")) == members
        except ShardError:
            continue
        # A blank for a leading zero or an end mark leaves the checksum's value as it was.
        assert 148 <= bit // 8 < 156


def test_a_file_that_is_no_tar(tmp_path):
    (tmp_path / "s.tar").write_bytes(b"PK\x03\x04" + bytes(range(256)) * 8)
    with pytest.raises(ShardError, match="no tar header at byte 0"):
        list(read_samples(tmp_path / "s.tar"))


def test_two_members_of_one_type_are_refused(tmp_path):
    (tmp_path / "s.tar").write_bytes(tar_with(member("a.txt"), member("a.TXT")))
    with pytest.raises(ShardError, match="two members of type 'txt'"):
        list(read_samples(tmp_path / "s.tar"))


# ---- the manifest ------------------------------------------------------------------------------


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
    with pytest.raises(UserError, match=rf"s\.tar: expected {entry.num_bytes} bytes, found 1000"):
        shards.check_shards(tmp_path, manifest)
    (tmp_path / "s.tar").unlink()
    with pytest.raises(UserError, match=r"s\.tar is missing"):
        shards.check_shards(tmp_path, manifest)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            None,
            "has no manifest.json: it is no finished data set; `python -m data_tools.build_shards",
        ),
        ("{", "is not JSON"),
        ("[]", "format_version is None"),
        ('{"format_version": 99}', "format_version is 99, this program reads 1"),
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
    ],
)
def test_manifest_fields_are_validated(tmp_path, field, value):
    entry = ShardEntry(name="s.tar", num_samples=1, num_bytes=10, sha256="a" * 64)
    content = make_manifest(entry).model_dump(mode="json")
    (content["shards"][0] if field in ("name", "num_samples") else content)[field] = value
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=field):
        shards.load_manifest(tmp_path)


def test_missing_folder_names_the_remedy(tmp_path):
    with pytest.raises(UserError, match="does not exist; build one with"):
        shards.load_manifest(tmp_path / "nowhere")


def test_torch_is_not_imported():
    code = (
        "import sys, t2vgan.data.shards as s, numpy as np;"
        "g = s.Geometry(num_frames=2, height=4, width=4);"
        "s.decode_strip(s.encode_strip(np.zeros((2, 4, 4, 3), np.uint8)), g);"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
