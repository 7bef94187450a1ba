"""Make rows of the tables and texts that list videos and captions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from t2vgan.errors import UserError
from t2vgan.utils.tables import Record, read_text_lines
from t2vgan.utils.untrusted import MAX_CAPTION_BYTES, format_json_type

from .rows import Row

VIDEO_COLUMNS = ("video", "video_path", "path", "file_name", "filename", "file", "url")
PROMPT_COLUMNS = ("prompt", "caption", "text", "description")
MAX_LISTED = 20
FIRST_LINE = ", or name the columns in the first line"


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns; None picks the first usual one."""

    video: str | None = None
    prompt: str | None = None

    @property
    def wanted(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of the video and the prompt column, the first preferred."""
        return (
            (self.video,) if self.video else VIDEO_COLUMNS,
            (self.prompt,) if self.prompt else PROMPT_COLUMNS,
        )

    def pick(self, names: Iterable[str], table: str) -> tuple[str, str]:
        """Return the video and prompt columns, or raise UserError with those there."""
        names = list(names)
        video, prompt = (_find(wanted, names) for wanted in self.wanted)
        if video is None or prompt is None:
            wanted, option = (
                (self.wanted[0], "--video-column")
                if video is None
                else (self.wanted[1], "--prompt-column")
            )
            others = ["..."] * (len(names) > MAX_LISTED)
            raise UserError(
                f"{table} has no column {' or '.join(wanted)}; its columns are "
                f"{', '.join(names[:MAX_LISTED] + others) or 'none'}; name one with {option}"
                f"{FIRST_LINE if table.lower().endswith(('.csv', '.tsv')) else ''}"
            )
        return video, prompt


def _find(wanted: Iterable[str], names: Iterable[str]) -> str | None:
    """Return the first wanted name that is there, with its spaces."""
    found = {name.strip(): name for name in names}
    return next((found[name.strip()] for name in wanted if name.strip() in found), None)


def table_rows(records: Iterable[Record], name: str, columns: Columns) -> Iterator[Row]:
    """Yield a row for each record; the first with a column decides.

    Raises:
        UserError: none has it.
    """
    found: tuple[str | None, ...] = (None, None)
    seen: dict[str, None] = {}  # all columns, in order
    for record in records:
        if record.problem:
            yield Row(name, problem=f"{name} {record.place}: {record.problem}")
            continue
        if None in found:
            seen |= dict.fromkeys([*record.values][:MAX_LISTED])
            found = tuple(
                column or _find(wanted, record.values)
                for column, wanted in zip(found, columns.wanted, strict=True)
            )
        yield _table_row(record, name, *found)
    if seen and None in found:
        columns.pick(seen, name)


def _table_row(record: Record, name: str, video: str | None, prompt: str | None) -> Row:
    path, caption = record.values.get(video or ""), record.values.get(prompt or "")
    place = f"{name} {record.place}"
    if path is None or path == "":
        return Row(name, problem=f"{place} names no video")
    if not isinstance(path, str):
        found = f"{video!r} is {format_json_type(path)}, must be a string"
        return Row(name, problem=f"{place}: {found}")
    path = path.strip()
    if caption is None:
        return Row(path, problem=f"no caption: {place} has none")
    if not isinstance(caption, str):
        found = f"{prompt!r} is {format_json_type(caption)}, must be a string"
        return Row(path, problem=f"no caption: {place}: {found}")
    return Row(path, caption[:MAX_CAPTION_BYTES])


def text_rows(videos: BinaryIO, prompts: BinaryIO, name: str) -> list[Row]:
    """Return the rows of two texts, matched line by line."""
    paths, captions = _text_lines(videos, name), _text_lines(prompts, "prompts.txt")
    while paths and not paths[-1]:
        paths.pop()
    while len(captions) > len(paths) and not captions[-1]:
        captions.pop()
    if len(paths) != len(captions):
        raise UserError(
            f"{name} has {len(paths)} lines and prompts.txt {len(captions)}; "
            f"line n of one must belong to line n of the other"
        )
    pairs = enumerate(zip(paths, captions, strict=True), start=1)
    records = (
        Record(f"line {i}", dict(zip(("video", "prompt"), pair, strict=True))) for i, pair in pairs
    )
    return list(table_rows(records, name, Columns()))


def _text_lines(file: BinaryIO, name: str) -> list[str]:
    return [line.strip() for _, line in read_text_lines(file, name)]
