"""Test that foreign tars are read, and damaged or hostile ones refused."""

import io
import os
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2vgan.data.shards import (
    EncodedSample,
    ShardError,
    read_samples,
    write_shard,
)
from t2vgan.data.tar import MAX_MEMBER_BYTES, read_members, scan_members
from t2vgan.data.tar_scanner import TarMember
from t2vgan.utils.files import sha256_of
from tests.support.shards import small_samples


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
        (b"\x80" + b"\xff" * 11, "limit"),
        (b"-0000000004\0", "claims -4 bytes"),
    ],
)
@pytest.mark.parametrize("skip", [0, 5])
def test_lying_sizes_are_refused_without_reading_them(tmp_path, size_field, reason, skip):
    (tmp_path / "s.tar").write_bytes(with_size(size_field))
    with pytest.raises(ShardError, match=reason):
        list(read_samples(tmp_path / "s.tar", skip=skip))


@pytest.mark.parametrize(
    "extensions", [[f"{i}" for i in range(200)], ["mp4", "txt", "json"], ["mp4"]]
)
def test_a_sample_has_limits(tmp_path, extensions, monkeypatch):
    """Its members are read at once: 60 of 250 MB would be 15 GB."""
    monkeypatch.setattr("t2vgan.data.shards.MAX_SAMPLE_BYTES", 1000)
    data = bytes(3 if len(extensions) > 100 else 1200 // len(extensions))
    members = [member(f"a.{extension}", data) for extension in extensions]
    (tmp_path / "s.tar").write_bytes(tar_with(*members))
    with pytest.raises(
        ShardError, match=r"s\.tar: sample 'a' has more than the limit of 1000 bytes"
    ):
        list(read_samples(tmp_path / "s.tar"))


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


@given(st.data())
def test_any_bytes_are_members_or_faults(data):
    """Members, and parts that are lost, follow each other."""
    pieces = [tar_with(member("a.txt"), member("b.mp4", bytes(700))), bytes(512), b"ustar"]
    drawn = data.draw(st.lists(st.sampled_from(pieces) | st.binary(max_size=600), max_size=6))
    whole = bytearray(b"".join(drawn))
    for place in data.draw(st.lists(st.integers(0, max(0, len(whole) - 1)), max_size=4)):
        whole[place : place + 1] = data.draw(st.binary(min_size=1, max_size=1))
    position = 0
    for found in scan_members(io.BytesIO(whole)):
        if isinstance(found, TarMember):
            assert position < found.offset <= len(whole)
            position = found.offset
    with suppress(ShardError):
        for found in read_members(io.BytesIO(whole), "s.tar"):
            assert found.offset + found.size <= len(whole)


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


def test_a_pipe_in_place_of_a_shard_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "s.tar")
    for read in (lambda path: list(read_samples(path)), sha256_of):
        with pytest.raises(OSError, match="not a regular file"):
            read(tmp_path / "s.tar")


def test_two_members_of_one_type_are_refused(tmp_path):
    (tmp_path / "s.tar").write_bytes(tar_with(member("a.txt"), member("a.TXT")))
    with pytest.raises(ShardError, match="two members of type 'txt'"):
        list(read_samples(tmp_path / "s.tar"))
