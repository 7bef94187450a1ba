"""Resolve and open what a list names; no other module does."""

import io
import os
import re
import stat
import time
from pathlib import Path
from typing import BinaryIO

from t2vgan.utils.urls import REMOTE_SCHEMES, is_url, scheme_of

from .settings import Access, VideoError

LOCAL_SCHEMES = ("file", "local")
ATTEMPTS = 3


def resolve(path: str, access: Access) -> str:
    """Return the path or URL that a row points to.

    Relative paths stay inside the source. Other local paths and `file:` URLs need --allow-local;
    every scheme that is not plain storage (`pipe:`, chained ones) is always refused, with a
    VideoError.
    """
    try:
        usable = bool(path) and b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise VideoError("refused", f"{path[:100]!r} cannot be the name of a file")
    inside = "" if is_url(access.root) else _inside(path, access.root)
    if inside and os.path.isfile(inside):  # whatever its name looks like
        return inside
    scheme = scheme_of(path)
    if "::" in path or scheme not in ("", *REMOTE_SCHEMES, *LOCAL_SCHEMES):
        raise VideoError("refused", f"{path[:100]!r}: only files, {', '.join(REMOTE_SCHEMES)}")
    if scheme in REMOTE_SCHEMES:
        return path
    if scheme:
        return _outside(re.sub(r"^\w+:(//)?", "", path), path, access)
    if is_url(access.root):
        if path.startswith("/") or ".." in path.split("/"):
            raise VideoError("refused", f"{path[:100]!r} leads out of the source")
        return f"{access.root.rstrip('/')}/{path}"
    return inside or _outside(os.path.realpath(os.path.join(access.root, path)), path, access)


def open_bytes(location: str, *, offset: int, size: int | None, max_bytes: int) -> BinaryIO:
    """Open a resolved file, or `size` bytes of one.

    Remote files are read into memory. Raises VideoError if there is nothing to read, or too much.
    """
    if is_url(location):
        return io.BytesIO(_fetch(location, offset, size, max_bytes))
    try:
        found = os.stat(location)
    except OSError as error:
        raise VideoError("missing", str(error.strerror)) from None
    if not stat.S_ISREG(found.st_mode):  # a pipe would block for ever, a device has no end
        raise VideoError("refused", "no regular file")
    _check_size(found.st_size if size is None else size, max_bytes)
    if not found.st_size:
        raise VideoError("empty", "the file has no bytes")
    file = open(location, "rb")  # noqa: SIM115 (the caller closes it)
    if size is None:
        return file
    with file:
        file.seek(offset)
        return io.BytesIO(file.read(size))


def _fetch(url: str, offset: int, size: int | None, max_bytes: int) -> bytes:
    """Read a remote file, retrying transient errors."""
    import fsspec

    for attempt in range(1, ATTEMPTS + 1):
        try:
            system, path = fsspec.core.url_to_fs(url)
            if size is not None:
                _check_size(size, max_bytes)
                return system.cat_file(path, start=offset, end=offset + size)
            with system.open(path, "rb", cache_type="readahead") as file:
                data = file.read(max_bytes + 1)
            _check_size(len(data), max_bytes)
            return data
        except FileNotFoundError as error:
            if not isinstance(error.__cause__, OSError):  # else the server did not answer
                raise VideoError("missing", f"{url}: no such object") from None
            reason: Exception = error.__cause__
        except ImportError as error:
            raise VideoError("refused", f"{url}: {error}") from None
        except VideoError:
            raise
        except Exception as error:  # each storage has its own kinds
            reason = error
        if attempt < ATTEMPTS:
            time.sleep(attempt)
    raise VideoError("unreachable", f"{url}: {reason}")


def _inside(path: str, root: str) -> str:
    """Return the real path of a file inside the root, else ""."""
    whole = os.path.realpath(os.path.join(root, path))
    return whole if Path(whole).is_relative_to(os.path.realpath(root)) else ""


def _outside(local: str, path: str, access: Access) -> str:
    if not access.allow_local:
        raise VideoError(
            "refused", f"{path[:100]!r} lies outside the source; --allow-local permits it"
        )
    return local


def _check_size(num_bytes: int, max_bytes: int) -> None:
    if num_bytes > max_bytes:
        raise VideoError("limit", f"{num_bytes} bytes or more, limit {max_bytes}")
