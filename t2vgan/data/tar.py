"""Read tar archives strictly and fast, and write them reproducibly.

Reading: Python's `tarfile` takes about 40 us for a member, more than decoding the member takes, and
accepts an archive that is cut off at a member's end. A shard needs very little of tar: regular
files in 512-byte blocks (POSIX.1-1988 ustar), plus the two ways of storing a long name. Links,
devices and paths that lead out of the archive are refused, and a missing end marker is an error.
"""

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from t2vgan.errors import UserError

if TYPE_CHECKING:
    from webdataset import TarWriter

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)
MAX_MEMBER_BYTES = 1 << 28
MAX_EXTENSION_BYTES = 1 << 16  # a long name or a PAX header
REGULAR_TYPES = b"0\x007"
READ_BUFFER_BYTES = 1 << 18
ADLER_MODULUS = 65521  # Adler-32 (RFC 1950) keeps the sum of its bytes in its lower half


class ShardError(UserError):
    """A tar is damaged, truncated or foreign.

    The message names the shard and the reason.
    """


class TarMember(NamedTuple):
    """A regular file of an archive, and where its bytes lie."""

    name: str
    offset: int
    size: int


def open_tar_writer(file: BinaryIO) -> "TarWriter":
    """Return webdataset's writer, set up for equal bytes from equal samples."""
    return _import_webdataset().TarWriter(
        file, encoder=False, keep_meta=True, user="", group="", mode=0o444, mtime=0
    )


def _import_webdataset() -> ModuleType:
    """Import webdataset without torch, unless torch is loaded.

    Its writer needs no torch, and for the rest it has stand-ins (webdataset/pytorch.py). With torch
    every worker process of a build would take 3 s and 510 MB for the import, not 0.1 s and 36 MB.
    """
    hide_torch = "torch" not in sys.modules
    if hide_torch:
        sys.modules["torch"] = None  # type: ignore[assignment]  # import raises ModuleNotFoundError
    try:
        import webdataset
    finally:
        if hide_torch:
            del sys.modules["torch"]
    return webdataset


def read_members(file: BinaryIO, path: Path | str) -> Iterator[TarMember]:
    """Yield the regular files of a seekable tar in order.

    The file's position is then at the member's bytes. The caller may read `member.size` bytes or
    none: the next header is found by its offset. `path` is for error messages. Raises ShardError.
    """
    total = file.seek(0, 2)
    position = 0
    name = size = None  # from extension blocks, about the member that follows them
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


def _parse_header(block: bytes, position: int, path: Path | str) -> tuple[bytes, TarMember]:
    """Check a header block's checksum; return its type flag and member."""
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
    """Sum bytes modulo ADLER_MODULUS, many times faster than `sum`."""
    return zlib.adler32(block, 0) & 0xFFFF


def _parse_pax(
    data: bytes, name: str | None, size: int | None, path: Path | str
) -> tuple[str | None, int | None]:
    """Return the name and size of PAX records ("27 path=some/long/name\\n")."""
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
