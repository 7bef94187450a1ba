"""Read Parquet in a child process within limits of memory and time.

A few kilobytes of Parquet may stand for terabytes, and its reader is a large library: what it is
given by others costs a process at most.
"""

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

from t2vgan.errors import UserError
from t2vgan.utils.tables import MAX_TABLE_BYTES, MAX_TABLE_ROWS, Record
from t2vgan.utils.untrusted import MAX_CAPTION_BYTES

from ..build.worker_pool import serving_parent
from .sandbox import MAX_ANSWER_BYTES, format_exit_code, limit_resources
from .source_folder import SourceFolder
from .tables import Columns

MEMORY_MB = 1024  # beyond what the library takes
TIMEOUT_SECONDS = 120.0  # from one batch of rows to the next
BATCH_ROWS = 256


def read_parquet(folder: SourceFolder, name: str, columns: Columns) -> Iterator[Record]:
    """Yield the rows of a Parquet file whose columns hold strings.

    Raises:
        UserError: it is damaged, lacks a column, has it twice or of another type, or exceeds a
            limit.
    """
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    child = context.Process(target=_serve, args=(theirs, folder, name, columns), daemon=True)
    child.start()
    theirs.close()
    num_rows = num_bytes = 0
    try:
        while batch := _receive(pipe, name):
            num_bytes += sum(len(text or "") for values in batch for text in values.values())
            if num_bytes > MAX_TABLE_BYTES:
                raise UserError(f"{name}: more than the limit of {MAX_TABLE_BYTES} bytes")
            for values in batch:
                num_rows += 1
                yield Record(f"row {num_rows}", values)
    except (EOFError, ConnectionError):
        child.join(5)
        code = format_exit_code(child.exitcode)
        raise UserError(f"{name}: the process that reads it died ({code})") from None
    finally:
        child.kill()
        child.join()
        pipe.close()


def _receive(pipe: Connection, name: str) -> list[dict[str, str | None]]:
    """Return the next rows, none after the last."""
    if not pipe.poll(TIMEOUT_SECONDS):
        raise UserError(f"{name}: no rows for {TIMEOUT_SECONDS:g} seconds")
    answer = json.loads(pipe.recv_bytes(MAX_ANSWER_BYTES))
    if "error" in answer:
        raise UserError(answer["error"])
    rows: list[dict[str, str | None]] = answer["rows"]
    return rows


# ---- in the child ------------------------------------------------------------------------------


def _serve(pipe: Connection, folder: SourceFolder, name: str, columns: Columns) -> None:
    """Send the rows, or the error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with serving_parent():
        try:
            for rows in _read_batches(folder, name, columns):
                pipe.send_bytes(json.dumps({"rows": rows}).encode())
            last: dict[str, Any] = {"rows": []}
        except Exception as error:
            last = {"error": _describe(error, name)}
        pipe.send_bytes(json.dumps(last).encode())


def _describe(error: Exception, name: str) -> str:
    """Describe why a table cannot be read."""
    match error:
        case UserError():
            return str(error)
        case ImportError():
            return f"{name} needs pyarrow: pip install 't2vgan[parquet]'"
        case MemoryError():
            return f"{name}: reading it needs more than the limit of {MEMORY_MB} MB"
        case _:  # of the library, or of the storage
            text = " ".join(str(error).split())[:200]
            return f"{name} is no sound Parquet file ({text})"


def _read_batches(
    folder: SourceFolder, name: str, columns: Columns
) -> Iterator[list[dict[str, str | None]]]:
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # others reserve a gigabyte
    import pyarrow
    from pyarrow import parquet

    pyarrow.set_cpu_count(1)  # each thread takes address space
    pyarrow.set_io_thread_count(1)
    limit_resources(MEMORY_MB)
    with folder.open_list(name) as file:
        table = parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
        if table.metadata.num_rows > MAX_TABLE_ROWS:
            raise UserError(f"{name}: more than the limit of {MAX_TABLE_ROWS} rows; divide it")
        picked = columns.pick(table.schema_arrow.names, name)
        for column in picked:
            _check_column(table.schema_arrow, column, name)
        for batch in table.iter_batches(BATCH_ROWS, columns=list(picked), use_threads=False):
            texts = (map(_cut, batch.column(column)) for column in picked)
            if batch.num_rows:
                yield [dict(zip(picked, pair, strict=True)) for pair in zip(*texts, strict=True)]


def _check_column(schema: Any, column: str, name: str) -> None:
    """Raise UserError unless one column has this name, and holds strings."""
    from pyarrow import types

    if schema.names.count(column) > 1:
        raise UserError(f"{name}: two columns are called {column!r}; rename one")
    found = schema.field(column).type
    if types.is_dictionary(found):
        found = found.value_type
    if not (types.is_string(found) or types.is_large_string(found) or types.is_null(found)):
        raise UserError(f"{name}: column {column!r} holds {str(found)[:100]}, must hold strings")


def _cut(scalar: Any) -> str | None:
    text = scalar.as_py()
    return None if text is None else str(text)[:MAX_CAPTION_BYTES]
