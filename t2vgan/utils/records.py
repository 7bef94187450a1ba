"""Read untrusted records: fields of JSON objects of any shape."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from t2vgan.errors import UserError
from t2vgan.utils.untrusted import MAX_JSON_BYTES, open_file, parse_json, read_bytes, read_lines

Record = Mapping[str, Any]

HEARTBEAT_NAME = re.compile(r"rank_(\d{1,9})\.json", re.ASCII)
CLOCKS = ("step", "clips_seen", "seconds")  # every record of a run has them
LARGEST = 1e300  # beyond it, sums and axis ranges overflow


def find_heartbeats(run_dir: Path) -> dict[int, Path]:
    """Return rank -> its heartbeat file."""
    paths = sorted((run_dir / "heartbeats").glob("rank_*.json"))
    return {int(match[1]): path for path in paths if (match := HEARTBEAT_NAME.fullmatch(path.name))}


def iter_records(path: Path | str) -> Iterator[dict[str, Any] | None]:
    """Yield a run's records; None for an invalid line.

    Raises:
        OSError: the file cannot be read.
    """
    with open_file(path) as file:
        yield from parse_records(line for _, line in read_lines(file))


def parse_records(lines: Iterable[bytes | None]) -> Iterator[dict[str, Any] | None]:
    """Yield the records of the lines that are not blank.

    None stands for an invalid line, such as an incomplete or very long one.
    """
    for line in lines:
        if line is None:
            yield None
        elif line.strip():
            record = parse_object(line)
            yield record if record is not None and is_record(record) else None


def is_record(record: Record) -> bool:
    """Return whether a record has a kind and three non-negative clocks."""
    clocks = (get_number(record, key) for key in CLOCKS)
    return (
        isinstance(record.get("kind"), str)
        and all(clock is not None and clock >= 0 for clock in clocks)
        and isinstance(record["step"], int)
    )


def read_object(path: Path) -> dict[str, Any] | None:
    """Read a JSON object from a file; None if there is none."""
    try:
        return parse_object(read_bytes(path, MAX_JSON_BYTES))
    except OSError:
        return None


def parse_object(text: bytes) -> dict[str, Any] | None:
    """Parse a JSON object; None if the text is not one.

    Invalid Unicode becomes question marks; NaN and infinities become None.
    """
    try:
        value = parse_json(text, errors="replace", parse_constant=lambda _: None)
    except UserError:
        return None
    return value if isinstance(value, dict) else None


def get_value(record: Record, path: str) -> Any:
    """Return the value under a key or a dotted path, else None."""
    if path in record:
        return record[path]
    outer, _, inner = path.partition(".")
    return get_value(get_record(record, outer), inner) if inner else None


def get_number(record: Record, path: str) -> float | None:
    """Return a field that is a number as in `to_number`, else None."""
    return to_number(get_value(record, path))


def get_text(record: Record, path: str) -> str | None:
    """Return a field that is a non-empty string, else None."""
    value = get_value(record, path)
    return value if isinstance(value, str) and value else None


def get_texts(record: Record, path: str) -> list[str]:
    """Return a list of strings; empty if there is none."""
    value = get_value(record, path)
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def get_interval(record: Record, path: str) -> tuple[float, float] | None:
    """Return the two numbers of a confidence interval, else None."""
    match get_value(record, path):
        case [low, high] if None not in (to_number(low), to_number(high)):
            return low, high
    return None


def get_record(record: Record, path: str) -> Record:
    """Return a nested object; empty if there is none."""
    value = get_value(record, path)
    return value if isinstance(value, dict) else {}


def to_number(value: Any) -> float | None:
    """Return a finite number of at most LARGEST, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if abs(value) <= LARGEST else None
