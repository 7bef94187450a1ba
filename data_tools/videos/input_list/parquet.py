"""Read Parquet in a child process with limits on memory and time.

A few kilobytes of Parquet may expand to terabytes, and its reader is a large library. In a child
process, untrusted files can at worst crash that process.
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

from ...build.worker_pool import serving_parent
from ..sandbox import MAX_ANSWER_BYTES, format_exit_code, limit_resources
from .source_folder import SourceFolder
from .tables import LIST_COLUMN, MAX_CAPTIONS, Columns

MEMORY_MB = 1024  # beyond what the library uses
TIMEOUT_SECONDS = 120.0  # from one batch of rows to the next
BATCH_ROWS = 256


def read_parquet(folder: SourceFolder, name: str, columns: Columns) -> Iterator[Record]:
    """Yield the rows of a Parquet file.

    Columns hold strings; classes may be integers, and `captions` may be lists.

    Raises:
        UserError: the file is damaged, a column is missing, duplicate or of another type, or a
            limit is exceeded.
    """
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    child = context.Process(target=_serve, args=(theirs, folder, name, columns), daemon=True)
    child.start()
    theirs.close()
    num_rows = num_bytes = 0
    try:
        while batch := _receive(pipe, name):
            num_bytes += sum(len(str(value)) for values in batch for value in values.values())
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


def _receive(pipe: Connection, name: str) -> list[dict[str, Any]]:
    """Return the next rows; an empty list after the last."""
    if not pipe.poll(TIMEOUT_SECONDS):
        raise UserError(f"{name}: no rows for {TIMEOUT_SECONDS:g} seconds")
    answer = json.loads(pipe.recv_bytes(MAX_ANSWER_BYTES))
    if "error" in answer:
        raise UserError(answer["error"])
    rows: list[dict[str, Any]] = answer["rows"]
    return rows


# ---- in the child ------------------------------------------------------------------------------


def _serve(pipe: Connection, folder: SourceFolder, name: str, columns: Columns) -> None:
    """Send the rows, or the error message."""
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
        case _:  # from the library or the storage
            text = " ".join(str(error).split())[:200]
            return f"{name} is not a valid Parquet file ({text})"


def _read_batches(
    folder: SourceFolder, name: str, columns: Columns
) -> Iterator[list[dict[str, Any]]]:
    os.environ["ARROW_DEFAULT_MEMORY_POOL"] = "system"  # others reserve a gigabyte of address space
    import pyarrow
    from pyarrow import parquet

    pyarrow.set_cpu_count(1)  # each thread uses address space
    pyarrow.set_io_thread_count(1)
    limit_resources(MEMORY_MB)
    with folder.open_list(name) as file:
        table = parquet.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
        if table.metadata.num_rows > MAX_TABLE_ROWS:
            raise UserError(f"{name}: more than the limit of {MAX_TABLE_ROWS} rows; divide it")
        picked = columns.pick(table.schema_arrow.names, name)
        for column in picked.names:
            _check_column(
                table.schema_arrow,
                column,
                name,
                is_label=column == picked.label,
                is_list=column == picked.prompt and column.strip() == LIST_COLUMN,
            )
        for batch in table.iter_batches(BATCH_ROWS, columns=picked.names, use_threads=False):
            values = (map(_cut, batch.column(column)) for column in picked.names)
            if batch.num_rows:
                rows = zip(*values, strict=True)
                yield [dict(zip(picked.names, row, strict=True)) for row in rows]


def _check_column(schema: Any, column: str, name: str, *, is_label: bool, is_list: bool) -> None:
    """Raise UserError if the column is duplicate or of a wrong type.

    It may hold strings, integers too if `is_label`, and lists of strings if `is_list`.
    """
    from pyarrow import types

    if schema.names.count(column) > 1:
        raise UserError(f"{name}: two columns are called {column!r}; rename one")
    found = schema.field(column).type
    if types.is_dictionary(found):
        found = found.value_type
    if is_list and (types.is_list(found) or types.is_large_list(found)):
        found = found.value_type
    if is_label and types.is_integer(found):
        return
    if not (types.is_string(found) or types.is_large_string(found) or types.is_null(found)):
        raise UserError(
            f"{name}: column {column!r} holds {str(found)[:100]}, but must hold strings"
        )


def _cut(scalar: Any) -> Any:
    value = scalar.as_py()
    if isinstance(value, list):
        return [text[:MAX_CAPTION_BYTES] for text in value[:MAX_CAPTIONS] if text is not None]
    return value[:MAX_CAPTION_BYTES] if isinstance(value, str) else value
