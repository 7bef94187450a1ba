"""Read tar archives fast, and write them reproducibly.

Python's `tarfile` takes about 40 us per member, more than decoding the member takes, and accepts an
archive that is cut off at a member's end. A shard needs only a small part of tar: regular files in
512-byte blocks (POSIX.1-1988 ustar), and the two ways of storing a long name. Links, devices and
paths that lead out of the archive are refused, and a missing end marker is an error.

A shard is read strictly: reading ends at the first fault (`read_members`). An archive from another
source is read as far as possible (`scan_members`): a member that cannot be used is named, and
reading continues; if a header is missing, the next valid one is searched, as in GNU tar; and
members after the end marker are read too, as with its option --ignore-zeros.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, BinaryIO

from t2vgan.data.tar_scanner import BadMember, DamagedTar, LostPart, TarMember, TarScanner
from t2vgan.errors import UserError

if TYPE_CHECKING:
    from webdataset import TarWriter

MAX_MEMBER_BYTES = 1 << 28
READ_BUFFER_BYTES = 1 << 18


class ShardError(UserError):
    """A tar is damaged, truncated or not a shard.

    The message names the shard and the reason.
    """


def open_tar_writer(file: BinaryIO) -> "TarWriter":
    """Return webdataset's writer, configured for reproducible bytes."""
    return _import_webdataset().TarWriter(
        file, encoder=False, keep_meta=True, user="", group="", mode=0o444, mtime=0
    )


def _import_webdataset() -> ModuleType:
    """Import webdataset without torch, unless torch is loaded.

    Its writer does not need torch, and the rest has stand-ins (webdataset/pytorch.py). With torch,
    the import would take 3 s and 510 MB in every worker process of a build, instead of 0.1 s and
    36 MB.
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

    Nothing after the end marker is read. The file is positioned at the member's bytes: the caller
    may read up to `member.size` of them, or none, because the next header is found by its offset.
    `path` is for error messages. Raises ShardError.
    """
    return _read_strictly(TarScanner(file, MAX_MEMBER_BYTES), path)


def _read_strictly(scanner: TarScanner, path: Path | str) -> Iterator[TarMember]:
    try:
        while (found := scanner.next()) is not None:
            if isinstance(found, BadMember):
                raise ShardError(f"{path}: {found.name!r} {found.problem}")
            if not _is_utf8(found.name):
                raise ShardError(f"{path}: member name {os.fsencode(found.name)!r} is not UTF-8")
            yield found
    except DamagedTar as damage:
        raise ShardError(f"{path}: {damage}") from None


def scan_members(file: BinaryIO) -> Iterator[TarMember | BadMember | LostPart]:
    """Yield all members of a seekable tar, and every fault.

    Members may have any size, and names of any bytes, decoded as by `os.fsdecode`. The file is
    positioned as in `read_members`.
    """
    scanner = TarScanner(file, sys.maxsize)
    while not scanner.ended:
        try:
            found = scanner.next() or scanner.skip_zeros()
        except DamagedTar as damage:
            found = scanner.skip_to_header(damage)
        if found is not None:
            yield found


def check_archive(file: BinaryIO, path: Path | str) -> None:
    """Raise ShardError unless `read_members` finds everything in a tar."""
    scanner = TarScanner(file, MAX_MEMBER_BYTES)
    for _ in _read_strictly(scanner, path):
        pass
    hole = scanner.skip_zeros()
    if hole and hole.is_certain:
        raise ShardError(f"{path}: {hole.problem}")
    if not scanner.ended:
        raise ShardError(
            f"{path}: {scanner.total - scanner.position} bytes follow the end marker, which"
            " readers of shards ignore; unpack it with `tar --ignore-zeros` and pack it again"
        )


def _is_utf8(name: str) -> bool:
    return name.isascii() or not any("\udc80" <= character <= "\udcff" for character in name)
