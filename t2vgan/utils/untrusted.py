"""Read untrusted files and JSON within limits on bytes and depth.

Everything is bounded before it is parsed: a pipe in a file's place would block, an endless file
fill the memory, and a text of brackets exhaust the stack or take twenty times its size as objects.
"""

import errno
import json
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Literal

from t2vgan.errors import UserError

MAX_JSON_BYTES = 128 << 20  # of a file: a manifest of a million captions
MAX_JSON_LINE_BYTES = 16 << 20  # of a line of many: a record, or a row of a list
MAX_CAPTION_BYTES = 1 << 16  # more than a prompt of any script takes
MAX_JSON_DEPTH = 100  # containers inside each other
MAX_JSON_VALUES = 4_000_000  # of which a value takes up to 200 bytes

STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # an open one reaches to the end
NO_BRACKET = re.compile(r"[^][{}]+")
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")  # escaped, or in a str

Errors = Literal["strict", "replace"]


class JsonError(UserError):
    """Text that is not JSON, or exceeds a limit."""


def open_file(path: Path | str, *, buffering: int = -1) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        OSError: it cannot be read, or is a pipe, a socket or a device, which might never end.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return os.fdopen(descriptor, "rb", buffering)
    except BaseException:
        os.close(descriptor)
        raise


def read_bytes(path: Path | str, max_bytes: int) -> bytes:
    """Read a regular file of at most `max_bytes`.

    Raises:
        OSError: as `open_file`, or it is larger (EFBIG).
    """
    with open_file(path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than the limit of {max_bytes} bytes", str(path))
    return data


def read_json(path: Path | str, *, errors: Errors = "strict") -> Any:
    """Read a JSON file.

    Raises:
        OSError: as `read_bytes`.
        JsonError: as `parse_json`; the message begins with the path.
    """
    data = read_bytes(path, MAX_JSON_BYTES)
    try:
        return parse_json(data, errors=errors)
    except JsonError as error:
        raise JsonError(f"{path}: {error}") from None


def parse_json(
    text: bytes | str,
    *,
    errors: Errors = "strict",
    parse_constant: Callable[[str], Any] = float,
) -> Any:
    """Parse JSON in UTF-8 of bounded depth and number of values.

    What is no Unicode (other bytes, halves of surrogate pairs) is refused, or replaced by question
    marks as in `bytes.decode`. `parse_constant` converts NaN and infinities. The caller bounds the
    length of the text.

    Raises:
        JsonError: the text is no JSON, or exceeds a limit.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig", errors)
        check_structure(text)
        value = json.loads(text, parse_constant=parse_constant)
        if SURROGATE.search(text):  # half of a pair, or the whole one
            encoded = json.dumps(value, ensure_ascii=False).encode("utf-8", errors)
            value = value if errors == "strict" else json.loads(encoded)
        return value
    except UnicodeDecodeError as error:
        raise JsonError(f"not UTF-8 at byte {error.start}") from None
    except UnicodeEncodeError:
        raise JsonError("not Unicode: half of a surrogate pair") from None
    except JsonError:
        raise
    except json.JSONDecodeError as error:
        raise JsonError(f"not JSON: {error}") from None
    except ValueError:
        limit = sys.get_int_max_str_digits()
        raise JsonError(f"an integer of more than the limit of {limit} digits") from None


def format_json_type(value: object) -> str:
    """Name the type of a parsed value, such as "a JSON array"."""
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    kind = kinds.get(type(value), "number")
    return f"a JSON {kind}"


def check_structure(text: str) -> None:
    """Raise JsonError if a text is too deep or too large.

    Nothing of it is built: brackets and commas are counted, those in strings only where the limits
    would otherwise be exceeded.
    """
    openings = text.count("[") + text.count("{")
    if openings <= MAX_JSON_DEPTH and openings + text.count(",") < MAX_JSON_VALUES:
        return
    bare = STRING.sub("", text)
    if bare.count("[") + bare.count("{") + bare.count(",") >= MAX_JSON_VALUES:
        raise JsonError(f"more than the limit of {MAX_JSON_VALUES} values")
    depth = 0
    for bracket in NO_BRACKET.sub("", bare):
        depth += 1 if bracket in "[{" else -1
        if depth > MAX_JSON_DEPTH:
            raise JsonError(f"deeper than the limit of {MAX_JSON_DEPTH} levels")


def read_lines(
    file: BinaryIO, max_bytes: int = MAX_JSON_LINE_BYTES
) -> Iterator[tuple[int, bytes | None]]:
    """Yield (number from 1, line) of a file, ends included.

    A line of more than `max_bytes` is None: it is passed over and not held in memory.
    """
    number = 0
    while line := file.readline(max_bytes + 1):
        number += 1
        if len(line) <= max_bytes:
            yield number, line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(max_bytes)
        yield number, None
