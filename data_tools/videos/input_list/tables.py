"""Make rows from tables and text files that list videos and captions."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from t2vgan.data.captions import LABEL_FIELDS, join_words
from t2vgan.errors import UserError
from t2vgan.utils.tables import Record, read_stripped_lines
from t2vgan.utils.untrusted import MAX_CAPTION_BYTES, format_json_type

from .rows import Row

VIDEO_COLUMNS = ("video", "video_path", "path", "file_name", "filename", "file", "url")
PROMPT_COLUMNS = ("prompt", "caption", "text", "description", "captions")
SPLIT_COLUMNS = ("split",)
LIST_COLUMN = "captions"
"""A column of lists, or of texts with one caption per line."""
MAX_LISTED = 20
MAX_CAPTIONS = 1000  # read per video; those that fit into 64 KB are stored
MAX_LABEL_CHARACTERS = 200
FIRST_LINE = ", or name the columns in the first line"


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns; None selects the first usual name."""

    video: str | None = None
    prompt: str | None = None
    label: str | None = None
    classes: str | None = None
    """File with the class names; None selects the source's classes.txt."""
    needs_prompt: bool = True
    """Whether a table must have a column of captions or classes."""
    class_folders: bool = False
    """Whether a video's class is the name of its folder."""

    @property
    def wanted(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Candidate names of the video and the prompt column, preferred first."""
        return (
            (self.video,) if self.video else VIDEO_COLUMNS,
            (self.prompt,) if self.prompt else PROMPT_COLUMNS,
        )

    def pick(self, names: Iterable[str], table: str) -> "PickedColumns":
        """Return the columns to read; UserError lists the existing ones."""
        names = list(names)
        video, prompt = (_find(wanted, names) for wanted in self.wanted)
        label = self.pick_label(names)
        if self.label and label is None:
            raise UserError(
                f"{table} has no column {self.label} (--label-column); its columns are"
                f" {', '.join(names[:MAX_LISTED])}"
            )
        has_prompt = bool(prompt or label or not self.needs_prompt) and not (
            self.prompt and prompt is None
        )
        if video is None or not has_prompt:
            wanted, option = (
                (self.wanted[0], "--video-column")
                if video is None
                else (self.wanted[1], "--prompt-column")
            )
            others = ["..."] * (len(names) > MAX_LISTED)
            raise UserError(
                f"{table} has no column {' or '.join(wanted)}; its columns are "
                f"{', '.join(names[:MAX_LISTED] + others) or 'none'}; choose one with {option}"
                f"{FIRST_LINE if table.lower().endswith(('.csv', '.tsv')) else ''}"
            )
        return PickedColumns(video, prompt, label, _find(SPLIT_COLUMNS, names))

    def pick_label(self, names: Iterable[str]) -> str | None:
        """Return the name of the column of classes, if there is one."""
        return _find((self.label,) if self.label else LABEL_FIELDS, names)


@dataclass(frozen=True)
class PickedColumns:
    """The columns to read from a table."""

    video: str
    prompt: str | None
    label: str | None
    split: str | None

    @property
    def names(self) -> list[str]:
        """All names, without repetitions."""
        columns = (self.video, self.prompt, self.label, self.split)
        return list(dict.fromkeys(column for column in columns if column is not None))


def _find(wanted: Iterable[str], names: Iterable[str]) -> str | None:
    """Return the first wanted name that exists, with its spaces."""
    found = {name.strip(): name for name in names}
    return next((found[name.strip()] for name in wanted if name.strip() in found), None)


def table_rows(records: Iterable[Record], name: str, columns: Columns) -> Iterator[Row]:
    """Yield a row for each record.

    The first record that has a wanted column decides its name for the table.

    Raises:
        UserError: no record has a wanted column.
    """
    found: tuple[str | None, ...] = (None, None)
    seen: dict[str, None] = {}  # all columns, in order
    has_label = False
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
        row = _table_row(record, name, *found)
        label = columns.pick_label(record.values)
        has_label = has_label or label is not None
        yield _with_class(row, record, name, label)
    if seen and (None in found or (columns.label and not has_label)):
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
    if prompt is not None and prompt.strip() == LIST_COLUMN:
        return with_captions(Row(path), caption, f"{place}: {LIST_COLUMN!r}")
    if not isinstance(caption, str):
        found = f"{prompt!r} is {format_json_type(caption)}, must be a string"
        return Row(path, problem=f"no caption: {place}: {found}")
    return Row(path, caption[:MAX_CAPTION_BYTES])


def with_captions(row: Row, captions: object, place: str) -> Row:
    """Return the row with captions: a list, or a text's lines."""
    if isinstance(captions, str):
        return row.with_lines(captions[:MAX_CAPTION_BYTES])
    if not (isinstance(captions, list) and all(isinstance(text, str) for text in captions)):
        found = f"{format_json_type(captions)}, must be a list of strings"
        return replace(row, problem=f"no caption: {place} is {found}")
    texts = [text[:MAX_CAPTION_BYTES] for text in captions[:MAX_CAPTIONS] if text.strip()]
    if not texts:
        return replace(row, problem=f"no caption: {place} has none")
    return replace(row, prompt=texts[0], further=tuple(texts[1:]))


def _with_class(row: Row, record: Record, name: str, column: str | None) -> Row:
    """Return the row with its class and its split."""
    split = record.values.get(_find(SPLIT_COLUMNS, record.values) or "")
    if isinstance(split, str) and split.strip():
        row = replace(row, split=split.strip())
    label = record.values.get(column or "")
    if label is None or label == "":
        return row
    try:
        return replace(row, label=format_label(label))
    except ValueError as error:
        return replace(row, problem=row.problem or f"{name} {record.place}: {column!r} {error}")


def format_label(label: object) -> str:
    """Return a class as one line of text.

    Raises:
        ValueError: the class is neither a string nor an integer.
    """
    if not isinstance(label, str) and type(label) is not int:
        raise ValueError(f"is {format_json_type(label)}, must be a string or an integer")
    text = join_words(str(label))[:MAX_LABEL_CHARACTERS]
    return "".join(character for character in text if character.isprintable())


def text_rows(videos: BinaryIO, prompts: BinaryIO, name: str) -> list[Row]:
    """Return the rows of two text files, paired line by line."""
    paths, captions = read_stripped_lines(videos, name), read_stripped_lines(prompts, "prompts.txt")
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
