"""Read untrusted lists strictly: .csv, .tsv, .jsonl and lines of text.

They must be UTF-8, and only a line feed ends a line. An error that affects the whole list raises a
UserError with its line; an error in one row is recorded as that row's problem.
"""

import codecs
import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, BinaryIO

from t2vgan.errors import UserError
from t2vgan.utils.untrusted import (
    MAX_JSON_LINE_BYTES,
    JsonError,
    format_json_type,
    parse_json,
    read_lines,
)

MAX_TABLE_BYTES = 1 << 29
MAX_TABLE_ROWS = 4_000_000  # all are held in memory
DELIMITERS = {".csv": ",", ".tsv": "\t"}
DELIMITER_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons"}
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark is a prefix of it
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
CSV_FAULTS = {
    "unexpected end": 'a quote (") is opened and never closed; close it, or quote the field and '
    "double the quotes inside",
    "expected after": 'text follows a closing quote ("), or an earlier quote was never closed; '
    "inside a quoted field each quote is doubled",
    "new-line": "a carriage return stands inside the row; lines end with LF or CR LF",
    "field limit": f"a field has more than the limit of {MAX_JSON_LINE_BYTES} characters",
}


@dataclass(frozen=True, slots=True)
class Record:
    """A row of a table, or the problem with it."""

    place: str
    """Where the row begins, such as "line 3"."""
    values: Mapping[str, Any]
    """Column -> value; strings in .csv and .tsv."""
    problem: str = ""


def read_table(file: BinaryIO, name: str) -> Iterator[Record]:
    """Yield the rows of a .csv, .tsv or .jsonl.

    Raises:
        UserError: the file is not UTF-8, its quotes or its first line are invalid, or it exceeds a
            limit.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix == ".jsonl":
        records = _read_json_lines(file, name)
    else:
        records = _read_delimited(file, name, DELIMITERS[suffix])
    for number, record in enumerate(records, start=1):
        if number > MAX_TABLE_ROWS:
            raise UserError(f"{name}: more than the limit of {MAX_TABLE_ROWS} rows; divide it")
        yield record


def read_text_lines(file: BinaryIO, name: str) -> Iterator[tuple[int, str]]:
    """Yield (number from 1, line with its end) of a UTF-8 text.

    Raises:
        UserError: the text has another encoding or exceeds a limit; the message names the line.
    """
    num_bytes = 0
    for number, line in read_lines(file):
        where = f"{name}: line {number}"
        if line is None:
            raise UserError(f"{where}: longer than the limit of {MAX_JSON_LINE_BYTES} bytes")
        num_bytes += len(line)
        if num_bytes > MAX_TABLE_BYTES:
            raise UserError(f"{where}: more than the limit of {MAX_TABLE_BYTES} bytes; divide it")
        yield number, _decode(line, where) if number > 1 else _decode_first(line, where)


def read_stripped_lines(file: BinaryIO, name: str) -> list[str]:
    """Read the lines of a UTF-8 text without outer white space."""
    return [line.strip() for _, line in read_text_lines(file, name)]


def _decode_first(line: bytes, where: str) -> str:
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if line.startswith(mark):
            raise UserError(f"{where}: the list is {encoding}; save it as UTF-8")
    text = _decode(line.removeprefix(codecs.BOM_UTF8), where)
    if "\0" in text:
        raise UserError(f"{where}: holds NUL bytes, as in UTF-16; save the list as UTF-8")
    return text


def _decode(line: bytes, where: str) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        found = line[error.start : error.start + 1]
        guess = found.decode("cp1252", "ignore")
        perhaps = f" (in Windows-1252 {guess!r})" if guess else ""
        raise UserError(
            f"{where}: byte {error.start + 1}, 0x{found.hex()}{perhaps}, is not UTF-8; save the"
            " list as UTF-8"
        ) from None


def _read_json_lines(file: BinaryIO, name: str) -> Iterator[Record]:
    for number, line in read_text_lines(file, name):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            value = parse_json(line)
        except JsonError as error:
            yield Record(place, {}, str(error))
            continue
        if isinstance(value, dict):
            yield Record(place, value)
        else:
            yield Record(place, {}, f"{format_json_type(value)}, must be a JSON object")


def _read_delimited(file: BinaryIO, name: str, delimiter: str) -> Iterator[Record]:
    """Yield the rows below the line that names the columns."""
    header: list[str] = []
    for number, fields in _split_rows(file, name, delimiter):
        if not header:
            header = [column.strip() for column in fields]
            _check_header(header, f"{name}: line {number}", delimiter)
        elif len(fields) == len(header):
            yield Record(f"line {number}", dict(zip(header, fields, strict=True)))
        else:
            problem = (
                f"{len(fields)} fields for {len(header)} columns; fields that hold "
                f'{DELIMITER_NAMES[delimiter]} stand in double quotes (")'
            )
            yield Record(f"line {number}", {}, problem)


def _split_rows(file: BinaryIO, name: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield each row's first line number and its fields."""
    csv.field_size_limit(MAX_JSON_LINE_BYTES)
    lines = (line for _, line in read_text_lines(file, name))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        first = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = next((CSV_FAULTS[key] for key in CSV_FAULTS if key in str(error)), str(error))
            to = f" (read to line {reader.line_num})" if reader.line_num > first else ""
            raise UserError(f"{name}: line {first}{to}: {fault}") from None
        if len(fields) > 1 or "".join(fields).strip():
            yield first, fields


def _check_header(header: list[str], where: str, delimiter: str) -> None:
    for other, kind in DELIMITER_NAMES.items():
        if other != delimiter and any(other in column for column in header):
            raise UserError(
                f"{where}: column names are divided by {kind}; a .csv has commas, a .tsv tabs"
            )
    for column in header:
        if column and header.count(column) > 1:
            raise UserError(f"{where}: two columns are called {column!r}; rename one")
