"""Read untrusted files and JSON with limits on size and depth.

Everything is checked before it is parsed: a pipe in place of a file would block, an endless file
would fill the memory, and a text of brackets would exhaust the stack or take twenty times its size
as objects.
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

MAX_JSON_BYTES = 128 << 20  # per file, such as a manifest of a million captions
MAX_JSON_LINE_BYTES = 16 << 20  # per line of JSON Lines: a record, or a row of a list
MAX_CAPTION_BYTES = 1 << 16  # more than a prompt in any script needs
MAX_JSON_DEPTH = 100  # nested containers
MAX_JSON_VALUES = 4_000_000  # a value takes up to 200 bytes in memory

STRING = re.compile(r'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)  # an unclosed one reaches to the end
NO_BRACKET = re.compile(r"[^][{}]+")
SURROGATE = re.compile(r"\\u[dD][89a-fA-F]|[\ud800-\udfff]")  # escaped, or in a str

Errors = Literal["strict", "replace"]


class JsonError(UserError):
    """Text that is not JSON, or exceeds a limit."""


def open_file(path: Path | str, *, buffering: int = -1) -> BinaryIO:
    """Open a regular file for reading.

    Raises:
        OSError: the file cannot be read, or is a pipe, a socket or a device, which might never end.
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
        OSError: as in `open_file`, or the file is larger (EFBIG).
    """
    with open_file(path) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"larger than the limit of {max_bytes} bytes", str(path))
    return data


def read_json(path: Path | str, *, errors: Errors = "strict") -> Any:
    """Read a JSON file.

    Raises:
        OSError: as in `read_bytes`.
        JsonError: as in `parse_json`; the message begins with the path.
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
    """Parse UTF-8 JSON with limits on depth and number of values.

    Invalid Unicode (other bytes, halves of surrogate pairs) is refused, or replaced by question
    marks, depending on `errors` as in `bytes.decode`. `parse_constant` converts NaN and infinities.
    The caller must limit the length of the text.

    Raises:
        JsonError: the text is not JSON, or exceeds a limit.
    """
    try:
        if isinstance(text, bytes):
            text = text.decode("utf-8-sig", errors)
        check_structure(text)
        value = json.loads(text, parse_constant=parse_constant)
        if SURROGATE.search(text):  # half of a pair, or a whole pair
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
    """Raise JsonError if a JSON text is too deep or too large.

    No objects are built: brackets and commas are counted. Strings are removed first only if the
    limits would otherwise be exceeded.
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
    """Yield (number from 1, line) of a file, including line ends.

    A line of more than `max_bytes` is None: it is skipped and not held in memory.
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
