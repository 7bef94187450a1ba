"""Write and read metrics.jsonl, and print status lines.

Every record is one JSON object on one line with the fields `kind`, `step`, `clips_seen`,
`seconds` (of training so far; it survives a resume) and `wall_time` (Unix time).
"""

import errno
import json
import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from io import FileIO
from pathlib import Path
from typing import Any

from t2vgan.utils.files import atomic_path, open_plain
from t2vgan.utils.records import iter_records

METRICS_NAME = "metrics.jsonl"

LONGEST_SECONDS = 1e13  # longest time shown, which Python can format

Record = dict[str, Any]  # plain JSON

logger = logging.getLogger(__name__)


class JsonlLogger:
    """Writes a run's records, on the main rank only.

    Records of a step must be written before its checkpoint is saved. Then a resumed run that calls
    `truncate_after(step)` has each of them exactly once.
    """

    def __init__(self, run_dir: Path | str, is_main: bool = True):
        self.path = Path(run_dir) / METRICS_NAME
        self.is_main = is_main
        self.on_record: Callable[[Record], None] | None = None
        self.file: FileIO | None = None
        self.unwritten: deque[bytes] = deque()  # lines waiting for space on the disk

    def forward_to(self, on_record: Callable[[Record], None]) -> None:
        """Also pass each new record to `on_record`, which must not raise."""
        self.on_record = on_record

    def write(
        self, kind: str, *, step: int, clips_seen: int, seconds: float, **fields: Any
    ) -> None:
        """Append one record and flush it.

        Non-finite numbers become null. While the disk is full, records wait in memory.
        """
        if not self.is_main:
            return
        record = to_json(
            {
                "kind": kind,
                "step": step,
                "clips_seen": clips_seen,
                "seconds": round(seconds, 3),
                "wall_time": round(time.time(), 3),
                **fields,
            }
        )
        num_unwritten = len(self.unwritten)
        self.unwritten.append(json.dumps(record, allow_nan=False).encode() + b"\n")
        file = self.open()
        try:
            self.flush(file)
        except OSError as error:
            if num_unwritten == 0:
                message = "%s cannot be written (%s); records are kept in memory"
                logger.warning(message, self.path, error.strerror)
        if self.on_record:
            self.on_record(record)

    def open(self) -> FileIO:
        """Open the file for appending, unless it is open.

        Raises:
            OSError: the file is a link, or cannot be written.
        """
        if self.file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = open_plain(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            self.file = open(descriptor, "ab", buffering=0)  # noqa: SIM115 - see close
        return self.file

    def flush(self, file: FileIO) -> None:
        """Write the pending lines; remove a partly written one.

        Raises:
            OSError: the disk is full; the unwritten lines stay pending.
        """
        while self.unwritten:
            size = os.fstat(file.fileno()).st_size
            try:
                num_written = file.write(self.unwritten[0])
                if num_written != len(self.unwritten[0]):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
            except OSError:
                file.truncate(size)
                raise
            self.unwritten.popleft()

    def truncate_after(self, step: int) -> None:
        """Remove the records after `step`, and an incomplete last line.

        A run that restarts without a checkpoint passes -1, which also removes records of step 0.
        """
        if not self.is_main or not self.path.exists():
            return
        self.close()
        with atomic_path(self.path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            for record in read_records(self.path):
                if record["step"] <= step:
                    file.write(f"{json.dumps(record)}\n")

    def read_kinds(self, step: int) -> set[str]:
        """Return the kinds of records that a step already has."""
        if not self.path.exists():
            return set()
        return {record["kind"] for record in read_records(self.path) if record["step"] == step}

    def close(self) -> None:
        """Write the pending lines and close the file.

        Raises:
            OSError: the disk is still full.
        """
        if self.file is not None:
            file, self.file = self.file, None
            with file:
                self.flush(file)


def read_records(path: Path | str) -> Iterator[Record]:
    """Yield the records of a metrics file, except incomplete lines."""
    return (record for record in iter_records(path) if record is not None)


def format_status(
    *,
    step: int,
    num_steps: int,
    clips_seen: int,
    clips_per_second: float,
    loss_discriminator: float,
    loss_generator: float,
    seconds_left: float,
) -> str:
    """Format a status line.

    The rate and the time left are omitted until a rate has been measured.

    `step 1200/9000  clips 19.2k  412 clips/s  loss D 0.61 G 0.74  left 0:05:12`
    """
    return "  ".join(
        [
            f"step {step}/{num_steps}",
            f"clips {abbreviate_count(clips_seen)}",
            *([f"{abbreviate_count(clips_per_second)} clips/s"] if clips_per_second else []),
            f"loss D {loss_discriminator:.2f} G {loss_generator:.2f}",
            *([f"left {format_duration(seconds_left)}"] if clips_per_second else []),
        ]
    )


def abbreviate_count(count: float) -> str:
    """Format a count in three significant digits: 0.31, 412, 19.2k, 1.25M."""
    for unit in ("", "k", "M"):
        if float(f"{count:.3g}") < 1000:
            return f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:.3g}G"


def format_duration(seconds: float) -> str:
    """Format seconds as 0:05:12; an unknown time as a question mark."""
    return str(timedelta(seconds=round(seconds))) if abs(seconds) < LONGEST_SECONDS else "?"


def to_json(value: Any) -> Any:
    """Convert to plain JSON values.

    Paths become strings, NumPy and torch scalars become numbers, non-finite numbers become null.
    """
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):  # a NumPy or torch scalar
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
