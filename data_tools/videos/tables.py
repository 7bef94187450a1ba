"""Read videos and captions from .csv, .jsonl, .parquet or two text files."""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

from t2vgan.errors import UserError

from .rows import MAX_CAPTION_BYTES, Row

VIDEO_COLUMNS = ("video", "video_path", "path", "file_name", "filename", "file", "url")
PROMPT_COLUMNS = ("prompt", "caption", "text", "description")
MAX_FIELD_CHARACTERS = 1 << 24


@dataclass(frozen=True)
class Columns:
    """Names of a table's columns; None picks the first usual one."""

    video: str | None = None
    prompt: str | None = None

    def pick(self, names: Iterable[str], table: str) -> tuple[str, str]:
        """Return the video and prompt columns, or raise UserError with those there."""
        names = list(names)
        video = _pick("--video-column", self.video, VIDEO_COLUMNS, names, table)
        return video, _pick("--prompt-column", self.prompt, PROMPT_COLUMNS, names, table)


def _pick(option: str, given: str | None, usual: tuple[str, ...], names: list, table: str) -> str:
    wanted = (given,) if given else usual
    for name in wanted:
        if name in names:
            return name
    raise UserError(
        f"{table} has no column {' or '.join(wanted)}; its columns are "
        f"{', '.join(map(str, names)) or 'none'}; name one with {option}"
    )


def csv_rows(lines: Iterable[str], name: str, columns: Columns) -> Iterator[Row]:
    """Yield the rows of a table with a header line."""
    csv.field_size_limit(MAX_FIELD_CHARACTERS)
    table = csv.DictReader(lines)
    try:
        video, prompt = columns.pick(table.fieldnames or (), name)
        yield from (table_row(line.get(video), line.get(prompt)) for line in table)
    except csv.Error as error:
        raise UserError(f"{name}: line {table.line_num}: {error}") from None


def jsonl_rows(lines: Iterable[str], name: str, columns: Columns) -> Iterator[Row]:
    """Yield rows of JSON lines; the first one names the columns."""
    picked = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            record = None
        if not isinstance(record, dict):
            yield Row("", problem=f"{name} line {number} is no JSON object")
            continue
        picked = picked or columns.pick(record, name)
        yield table_row(record.get(picked[0]), record.get(picked[1]))


def parquet_rows(file: BinaryIO, name: str, columns: Columns) -> Iterator[Row]:
    """Yield the rows of a Parquet file."""
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise UserError(f"{name} needs pyarrow: pip install 't2vgan[parquet]'") from None
    try:
        table = parquet.ParquetFile(file)
        picked = columns.pick(table.schema_arrow.names, name)
        for batch in table.iter_batches(columns=list(picked)):
            values = (batch.column(column).to_pylist() for column in picked)
            yield from (table_row(*pair) for pair in zip(*values, strict=True))
    except ArrowException as error:
        raise UserError(f"{name} is no sound Parquet file ({str(error)[:100]})") from None


def text_rows(videos: str, prompts: str, name: str) -> list[Row]:
    """Return the rows of two texts, matched line by line."""
    paths, captions = (text.rstrip("\r\n").split("\n") for text in (videos, prompts))
    if len(paths) != len(captions):
        raise UserError(
            f"{name} has {len(paths)} lines and prompts.txt {len(captions)}; "
            f"line n of one must belong to line n of the other"
        )
    return [table_row(*pair) for pair in zip(paths, captions, strict=True)]


def table_row(video: object, prompt: object) -> Row:
    """Return the row of one line of a table."""
    if not isinstance(video, str) or not video.strip():
        return Row("", problem="the row names no video")
    if not isinstance(prompt, str):
        return Row(video.strip(), problem="no caption: the row has none")
    return Row(video.strip(), prompt[:MAX_CAPTION_BYTES])
