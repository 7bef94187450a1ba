"""Tar archives as shards use them: read strictly and fast, written byte for byte the same.

Python's `tarfile` spends about 40 us on a member, more than decoding the member takes, and passes
over an archive that stops early without a word. A shard needs very little of tar: regular files in
512-byte blocks (POSIX.1-1988 ustar), plus the two ways of storing a long name. Links, devices and
paths that climb out of the archive are refused, and an archive without its end marker is an error.
"""

import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

from t2vgan.errors import UserError

BLOCK = 512
RECORD = 20 * BLOCK  # tar pads archives to whole records
ZERO_BLOCK = bytes(BLOCK)
MAX_MEMBER_BYTES = 1 << 28
MAX_EXTENSION_BYTES = 1 << 16  # a long name or a PAX header
REGULAR_TYPES = b"0\x007"
READ_BUFFER_BYTES = 1 << 18
HEADER_OWNER = b"0000444\0" + b"0000000\0" * 2  # mode, uid, gid
HEADER_BACK = (b"0" + bytes(100) + b"ustar\00000".ljust(72, b"\0") + b"0000000\0" * 2).ljust(
    356, b"\0"
)
ADLER_MODULUS = 65521  # Adler-32 (RFC 1950) keeps the sum of its bytes in its lower half


class ShardError(UserError):
    """A damaged, truncated or foreign tar; the text names the shard and the reason."""


class TarMember(NamedTuple):
    """One regular file of an archive: its name, and where its bytes lie."""

    name: str
    offset: int
    size: int


def read_members(file: BinaryIO, path: Path | str) -> Iterator[TarMember]:
    """Yield the regular files of a seekable tar in order, the file standing at each one's bytes.

    The caller may read `member.size` bytes or none: the next header is sought by its offset.
    `path` only names the shard in errors. Raises ShardError.
    """
    total = file.seek(0, 2)
    position = 0
    name = size = None  # what extension blocks say about the member that follows them
    while True:
        file.seek(position)
        block = file.read(BLOCK)
        if len(block) < BLOCK or (block == ZERO_BLOCK and len(file.read(BLOCK)) < BLOCK):
            raise ShardError(f"{path}: truncated: the tar has no end marker at byte {position}")
        if block == ZERO_BLOCK:
            return
        kind, member = _parse_header(block, position, path)
        if name is not None or size is not None:
            member = TarMember(
                name or member.name, member.offset, member.size if size is None else size
            )
        _check_size(kind, member, total, path)
        position = member.offset + -(-member.size // BLOCK) * BLOCK
        if kind in REGULAR_TYPES:
            _check_name(member.name, path)
            yield member
        elif kind == b"x":
            name, size = _parse_pax(file.read(member.size), name, size, path)
            continue
        elif kind == b"L":
            name = _text(file.read(member.size).rstrip(b"\0"), path)
            continue
        elif kind not in b"g5":
            raise ShardError(f"{path}: {member.name!r} is no regular file (tar type {kind!r})")
        name = size = None


def write_members(file: BinaryIO, members: Iterable[tuple[str, bytes]]) -> None:
    """Write a whole ustar archive of (name, data) members: mtime 0, uid and gid 0, mode 0444."""
    written = 0
    for name, data in members:
        file.write(_header(name, len(data)))
        file.write(data)
        file.write(bytes(-len(data) % BLOCK))
        written += BLOCK + len(data) + -len(data) % BLOCK
    file.write(bytes(2 * BLOCK + -(written + 2 * BLOCK) % RECORD))


def _header(name: str, size: int) -> bytes:
    raw = name.encode()
    if len(raw) > 100:
        raise ValueError(f"member name {name!r} is longer than the 100 bytes of a ustar header")
    front = raw.ljust(100, b"\0") + HEADER_OWNER + b"%011o\0%011o\0" % (size, 0)
    checksum = _byte_sum(front) + _byte_sum(HEADER_BACK) + 8 * ord(" ")
    return front + b"%06o\0 " % checksum + HEADER_BACK


def _parse_header(block: bytes, position: int, path: Path | str) -> tuple[bytes, TarMember]:
    """Return a header block's type flag and member, its checksum proven."""
    try:
        expected = int(block[148:156].split(b"\0", 1)[0], 8)
        size = int(block[124:136].strip(b" \0") or b"0", 8)
    except ValueError:
        raise ShardError(f"{path}: no tar header at byte {position}") from None
    if (_byte_sum(block) - _byte_sum(block[148:156]) + 8 * ord(" ") - expected) % ADLER_MODULUS:
        raise ShardError(f"{path}: damaged tar header at byte {position} (checksum)")
    name = block[:100].split(b"\0", 1)[0]
    if block[257:263] == b"ustar\0" and block[345]:
        name = block[345:500].split(b"\0", 1)[0] + b"/" + name
    return block[156:157], TarMember(_text(name, path), position + BLOCK, size)


def _byte_sum(block: bytes) -> int:
    """Return the sum of the bytes, modulo ADLER_MODULUS, many times faster than `sum`."""
    return zlib.adler32(block, 0) & 0xFFFF


def _parse_pax(
    data: bytes, name: str | None, size: int | None, path: Path | str
) -> tuple[str | None, int | None]:
    """Return the name and size that PAX records ("27 path=some/long/name\\n") give, if any."""
    try:
        while data:
            length = int(data[: data.index(b" ")])
            record, data = data[:length], data[length:]
            if length < 5 or len(record) < length or not record.endswith(b"\n"):
                raise ValueError
            keyword, value = record[record.index(b" ") + 1 : -1].split(b"=", 1)
            if keyword == b"path":
                name = _text(value, path)
            elif keyword == b"size":
                size = int(value)
            elif keyword.startswith(b"GNU.sparse"):
                raise ShardError(f"{path}: sparse members are not supported")
    except ShardError:
        raise
    except ValueError:
        raise ShardError(f"{path}: damaged PAX header") from None
    return name, size


def _check_size(kind: bytes, member: TarMember, total: int, path: Path | str) -> None:
    limit = MAX_EXTENSION_BYTES if kind in b"xL" else MAX_MEMBER_BYTES
    if not 0 <= member.size <= limit:
        raise ShardError(f"{path}: {member.name!r} claims {member.size} bytes, limit {limit}")
    if member.offset + member.size > total:
        raise ShardError(
            f"{path}: truncated inside {member.name!r}: "
            f"{member.size} bytes expected, {max(0, total - member.offset)} found"
        )


def _check_name(name: str, path: Path | str) -> None:
    if name.startswith("/") or ".." in name.split("/"):
        raise ShardError(f"{path}: member name {name!r} leads out of the archive")


def _text(raw: bytes, path: Path | str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ShardError(f"{path}: member name {raw!r} is not UTF-8") from None
