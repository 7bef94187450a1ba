"""Read the input list of a folder, table, text file or tars."""

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from t2vgan.data.filesystems import open_filesystem
from t2vgan.data.tar import ShardError, TarMember, read_members
from t2vgan.errors import UserError
from t2vgan.utils.urls import is_url

from .rows import MAX_CAPTION_BYTES, VIDEO_EXTENSIONS, Row, Source
from .tables import Columns, csv_rows, jsonl_rows, parquet_rows, text_rows

TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet", "videos.txt")
LAYOUTS = (
    "a folder of a.mp4 + a.txt; one with metadata.csv, .jsonl or .parquet; one with videos.txt + "
    "prompts.txt; one of webdataset tars; or such a table or tar itself"
)


def read_source(source: str, columns: Columns) -> Source:
    """Read the rows of a source, or raise UserError with the layouts."""
    folder = SourceFolder(source)
    if folder.is_file(""):
        folder.root, _, name = folder.root.rpartition("/")
        found = _read_list(folder, name, columns)
    elif folder.is_folder():
        found = _read_folder(folder, columns)
    else:
        raise UserError(f"source {source} does not exist; give {LAYOUTS}")
    if not found.rows:
        raise UserError(f"source {source} has no videos; give {LAYOUTS}")
    return found


class SourceFolder:
    """A folder of files, local or in object storage."""

    def __init__(self, source: str):
        self.remote = is_url(source)
        self.system, self.root = open_filesystem(source if self.remote else f"file://{source}")

    @property
    def url(self) -> str:
        """The folder's path or URL, which the paths of rows start from."""
        return self.system.unstrip_protocol(self.root) if self.remote else self.root

    def is_folder(self) -> bool:
        """Return whether the folder exists."""
        return self.system.isdir(self.root)

    def is_file(self, name: str) -> bool:
        """Return whether a name is a regular file; a pipe would block."""
        return self.system.isfile(self._path(name))

    def names(self) -> list[str]:
        """Return the relative paths of all files, sorted."""
        prefix = f"{self.root.rstrip('/')}/"
        return sorted(path.removeprefix(prefix) for path in self.system.find(self.root))

    def open(self, name: str) -> BinaryIO:
        """Open a file for reading."""
        return self.system.open(self._path(name), "rb")

    def open_text(self, name: str) -> io.TextIOWrapper:
        """Open a text file, replacing bytes that are not UTF-8."""
        return io.TextIOWrapper(self.open(name), "utf-8-sig", "replace", newline="")

    def head(self, name: str) -> bytes:
        """Return the first bytes of a file, enough for any caption."""
        return self.system.cat_file(self._path(name), start=0, end=MAX_CAPTION_BYTES)

    def _path(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}" if name else self.root


def _read_folder(folder: SourceFolder, columns: Columns) -> Source:
    for name in TABLES:
        if folder.is_file(name):
            return _read_list(folder, name, columns)
    names = folder.names()
    if tars := [name for name in names if name.endswith(".tar")]:
        if videos := _videos(names):
            raise UserError(
                f"source {folder.url} has tars and videos ({tars[0]}, {videos[0]}): give one kind"
            )
        rows = [row for tar in tars for row in _tar_rows(folder, tar)]
        return Source(folder.url, rows, f"{len(tars)} tars")
    return Source(folder.url, list(_caption_rows(folder, names)), "folder")


def _read_list(folder: SourceFolder, name: str, columns: Columns) -> Source:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".tar":
        return Source(folder.url, list(_tar_rows(folder, name)), name)
    if suffix == ".parquet":
        with folder.open(name) as file:
            return Source(folder.url, list(parquet_rows(file, name, columns)), name)
    with folder.open_text(name) as lines:
        if suffix == ".csv":
            rows = list(csv_rows(lines, name, columns))
        elif suffix == ".jsonl":
            rows = list(jsonl_rows(lines, name, columns))
        elif suffix == ".txt":
            if not folder.is_file("prompts.txt"):
                raise UserError(f"{name} lists videos, but prompts.txt is not beside it")
            with folder.open_text("prompts.txt") as prompts:
                rows = text_rows(lines.read(), prompts.read(), name)
        else:
            raise UserError(
                f"source {name}: must end in .csv, .jsonl, .parquet, .txt or .tar; of videos, give"
                " their folder"
            )
    return Source(folder.url, rows, name)


def _caption_rows(folder: SourceFolder, names: list[str]) -> Iterator[Row]:
    """Yield a row per video, its caption from NAME.txt."""
    from tqdm import tqdm

    captions = {str(PurePosixPath(name).with_suffix("")): name for name in reversed(names)
                if PurePosixPath(name).suffix.lower() == ".txt"}  # fmt: skip
    for name in tqdm(_videos(names), desc="reading captions", unit=" files", delay=0.5):
        stem = str(PurePosixPath(name).with_suffix(""))
        if stem in captions and folder.is_file(captions[stem]):
            yield Row(name).with_caption(folder.head(captions[stem]))
        else:
            yield Row(name, problem=f"no caption: {stem}.txt is not there")


def _videos(names: list[str]) -> list[str]:
    return [n for n in names if PurePosixPath(n).suffix.lower()[1:] in VIDEO_EXTENSIONS]


def _tar_rows(folder: SourceFolder, name: str) -> Iterator[Row]:
    """Yield a row per video of a webdataset tar (video2dataset's layout).

    The caption is the .txt member, else `caption` in the .json.
    """
    with folder.open(name) as file:
        key = ""
        members: dict[str, tuple[TarMember, bytes]] = {}
        try:
            for member in read_members(file, name):
                parent, slash, filename = member.name.rpartition("/")
                stem, _, extension = filename.partition(".")
                if (found := parent + slash + stem) != key:
                    yield from _sample_row(name, members)
                    key, members = found, {}
                extension = extension.lower()
                text = extension in ("txt", "json")
                data = file.read(min(member.size, MAX_CAPTION_BYTES)) if text else b""
                members.setdefault(extension, (member, data))
            yield from _sample_row(name, members)
        except ShardError as error:  # what was read before it is kept
            yield from _sample_row(name, members)
            yield Row(name, problem=f"{' '.join(str(error).split())}; the rest is not read")


def _sample_row(name: str, members: dict[str, tuple[TarMember, bytes]]) -> Iterator[Row]:
    found = next((members[e][0] for e in members if e in VIDEO_EXTENSIONS), None)
    if found is None:
        return
    row = Row(name, member=found.name, offset=found.offset, size=found.size)
    if "txt" in members:
        yield row.with_caption(members["txt"][1])
        return
    try:
        caption: Any = json.loads(members["json"][1])["caption"]
    except (KeyError, TypeError, ValueError, RecursionError):
        caption = None
    if isinstance(caption, str):
        yield replace(row, prompt=caption)
    else:
        yield replace(row, problem="no caption: neither .txt nor `caption` in .json")
