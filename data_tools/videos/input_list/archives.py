"""Read the rows of tars, and count samples lost to damage."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import PurePosixPath
from statistics import median_high
from typing import BinaryIO

from t2vgan.data.manifest import MANIFEST_NAME, parse_manifest
from t2vgan.data.tar import scan_members
from t2vgan.data.tar_scanner import BadMember, LostPart
from t2vgan.errors import UserError
from t2vgan.utils.untrusted import MAX_JSON_BYTES, MAX_JSON_LINE_BYTES, parse_json

from ..settings import VideoError
from .file_kinds import (
    HEAD_BYTES,
    extension_of,
    find_reason_to_ignore,
    has_video_extension,
    is_video,
    may_be_video,
)
from .rows import PassedOver, Row
from .source_folder import SourceFolder
from .tar_members import CAPTION_EXTENSIONS, Member, pair_members, read_caption

COMPRESSED = {
    (0, b"\x1f\x8b"): "gzip",
    (4, b"1AY&SY"): "bzip2",
    (0, b"\xfd7zXZ"): "xz",
    (0, b"\x28\xb5\x2f\xfd"): "zstd",
}
COMPRESSED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
MAX_MEMBERS = 1_000_000  # per tar; all are held in memory
MAX_DAMAGES = 1000  # per tar; each costs a search
MAX_LOST_ROWS = 100_000  # beyond the number of rows found, whatever manifests claim


def is_tar(name: str) -> bool:
    """Return whether a name is that of a tar, compressed or not."""
    return name.lower().endswith((".tar", *COMPRESSED_SUFFIXES))


@dataclass
class Archive:
    """A tar, read as far as possible."""

    name: str
    rows: list[Row] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    lost: list[LostPart] = field(default_factory=list)
    num_bytes: int = 0
    """Total size of the members."""


def read_archives(folder: SourceFolder, names: Iterable[str]) -> tuple[list[Row], list[PassedOver]]:
    """Return the rows of tars, including lost samples, and other members."""
    archives = [read_archive(folder, name) for name in names]
    expected = expected_samples(folder, archives)
    rows = []
    num_left = MAX_LOST_ROWS + sum(len(archive.rows) for archive in archives)
    for archive in archives:
        lost = list(islice(lost_rows(archive, expected), max(num_left, 1)))
        rows += archive.rows + lost
        num_left -= len(lost)
    return rows, [entry for archive in archives for entry in archive.passed_over]


def read_archive(folder: SourceFolder, name: str) -> Archive:
    """Read a tar; what stops the reading counts as a lost part."""
    archive = Archive(name)
    try:
        with folder.open(name) as file:
            head = file.read(HEAD_BYTES)
            for (offset, mark), kind in COMPRESSED.items():
                if head.startswith(mark, offset):
                    raise VideoError("list", f"compressed with {kind}; unpack it to a plain .tar")
            members = list(_read_members(file, archive))
    except (VideoError, OSError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        archive.lost.append(LostPart(problem, 0, open_ended=True))
        return archive
    for member, found in pair_members(members):
        if isinstance(found, str):
            archive.passed_over.append(PassedOver(f"{name}/{member.name}", found))
            continue
        problem = f"{name}: {found.problem}" if member.problem else found.problem
        archive.rows.append(
            replace(
                found,
                path=name,
                member=member.name,
                offset=member.offset,
                size=member.size,
                problem=problem,
            )
        )
    return archive


def _read_members(file: BinaryIO, archive: Archive) -> Iterator[Member]:
    """Yield an archive's members; record lost and ignored ones."""
    for number, found in enumerate(scan_members(file)):
        if number >= MAX_MEMBERS or len(archive.lost) >= MAX_DAMAGES:
            problem = f"more than {MAX_MEMBERS} members or {MAX_DAMAGES} damages; divide or mend it"
            archive.lost.append(LostPart(problem, 0, open_ended=True))
            return
        if isinstance(found, LostPart):
            archive.lost.append(found)
        elif reason := find_reason_to_ignore(found.name):
            archive.passed_over.append(PassedOver(f"{archive.name}/{found.name}", reason))
        elif isinstance(found, BadMember):
            known = has_video_extension(found.name)
            yield Member(found.name, problem=found.problem, is_video=known)
        else:
            archive.num_bytes += found.size
            member = Member(*found, is_video=has_video_extension(found.name))
            if extension_of(found.name) in CAPTION_EXTENSIONS:
                member.caption = read_caption(file, member)
            elif may_be_video(found.name):
                member.is_video = is_video(file.read(min(found.size, HEAD_BYTES)))
            yield member


def expected_samples(folder: SourceFolder, archives: list[Archive]) -> dict[str, tuple[int, str]]:
    """Return the expected number of samples of damaged archives, with the source.

    The source is the manifest or video2dataset's statistics beside the archive, or else the usual
    number of the sound archives.
    """
    found = {}
    sound = [len(archive.rows) for archive in archives if archive.rows and not archive.lost]
    for archive in archives:
        if not archive.lost:
            continue
        counted = _counted_in_manifest(folder, archive.name) or _counted_by_video2dataset(
            folder, archive.name
        )
        if counted:
            found[archive.name] = counted
        elif sound:
            found[archive.name] = median_high(sound), "as its neighbours"
    return found


def _counted_in_manifest(folder: SourceFolder, name: str) -> tuple[int, str] | None:
    parent, slash, filename = name.rpartition("/")
    manifest_name = f"{parent}{slash}{MANIFEST_NAME}"
    with suppress(UserError, OSError, VideoError):
        manifest = parse_manifest(folder.read_head(manifest_name, MAX_JSON_BYTES), manifest_name)
        for entry in manifest.shards:
            if entry.name == filename:
                return entry.num_samples, f"by {MANIFEST_NAME}"
    return None


def _counted_by_video2dataset(folder: SourceFolder, name: str) -> tuple[int, str] | None:
    statistics = f"{PurePosixPath(name).with_suffix('')}_stats.json"
    with suppress(UserError, OSError, VideoError):
        record = parse_json(folder.read_head(statistics, MAX_JSON_LINE_BYTES))
        if isinstance(record, dict) and type(count := record.get("successes")) is int:
            return count, f"by {statistics}"
    return None


def lost_rows(archive: Archive, expected: dict[str, tuple[int, str]]) -> Iterator[Row]:
    """Yield a row for each sample that an archive lacks.

    If their number is unknown, a truncated archive counts as having lost as many samples as it
    holds, and damaged bytes as many as would fit into them.
    """
    if not archive.lost:
        return
    num_found = len(archive.rows)
    if archive.name in expected:
        count, source = expected[archive.name]
        num_lost = count - num_found
        note = f"holds {num_found} of {count} samples ({source})"
    else:
        num_lost = sum(_estimate(part, archive) for part in archive.lost)
        num_bytes = sum(part.num_bytes for part in archive.lost)
        note = f"how many samples are lost is unknown, at least {num_bytes} bytes"
    num_certain = sum(part.is_certain for part in archive.lost)
    for place in range(max(num_certain, num_lost)):
        part = archive.lost[min(place, len(archive.lost) - 1)]
        yield Row(archive.name, problem=f"{archive.name}: {part.problem}; {note}")


def _estimate(part: LostPart, archive: Archive) -> int:
    num_found = len(archive.rows)
    if not part.is_certain:
        return 0
    if part.open_ended or not archive.num_bytes:
        return num_found
    return -(-part.num_bytes * num_found // archive.num_bytes)
