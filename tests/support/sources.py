"""Sources of videos for the tests: tars and folders."""

import io
import tarfile
from pathlib import Path

from data_tools.videos.input_list.rows import Source
from data_tools.videos.input_list.sources import read_source
from data_tools.videos.input_list.tables import Columns
from t2vgan.data.shards import ShardEntry
from tests.support.shards import make_manifest

NUM_EACH = 20
FILM = b"\0\0\0\x18ftypisom" + bytes(range(256)) * 5  # no film, but it begins as one


def read(path: Path, **options: bool) -> Source:
    return read_source(str(path), Columns(), **options)


def captions_of(source: Source) -> dict[str, str]:
    """Return video -> prompt of the rows without a problem."""
    rows = [row for row in source.rows if not row.problem]
    return {row.member or row.path: row.prompt for row in rows}


def problems_of(source: Source) -> list[str]:
    return [row.problem for row in source.rows if row.problem]


def reasons_of(source: Source) -> dict[str, str]:
    return {entry.path: entry.reason for entry in source.passed_over}


def write_tar(
    path: Path, members: list[tuple[str | tarfile.TarInfo, bytes]], format: int = tarfile.GNU_FORMAT
) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in members:
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            if isinstance(name, str):
                info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def samples(first: int, count: int = NUM_EACH) -> list[tuple[str, bytes]]:
    numbers = range(first, first + count)
    return [
        (f"{i:03d}.{extension}", data)
        for i in numbers
        for extension, data in (("txt", f"caption {i:03d}".encode()), ("mp4", FILM))
    ]


def manifest_of(name: str, num_samples: int) -> dict:
    entry = ShardEntry(name=name, num_samples=num_samples, num_bytes=9, sha256="0" * 64)
    return make_manifest(entry).as_json()
