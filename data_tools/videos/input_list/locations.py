"""Resolve and open the locations in a list; no other module does."""

import errno
import io
import os
import re
from pathlib import Path
from typing import BinaryIO

from t2vgan.data.filesystems import (
    find_refusal,
    is_private_host,
    open_filesystem,
    read_file,
    read_part,
)
from t2vgan.data.remote import ATTEMPTS_FOR_VIDEOS, retry
from t2vgan.errors import UserError
from t2vgan.utils.file_parts import FileOfParts
from t2vgan.utils.untrusted import open_file
from t2vgan.utils.urls import REMOTE_SCHEMES, host_of, is_url, redact, redact_url, scheme_of

from ..settings import Access, VideoError

LOCAL_SCHEMES = ("file", "local")
NOT_REGULAR = (errno.EINVAL, errno.EISDIR, errno.ENXIO)  # pipe or device, folder, socket


def resolve(path: str, access: Access) -> str:
    """Return the path or URL that a row refers to.

    Relative paths must stay inside the source. Other local paths and `file:` URLs need
    --allow-local. Schemes other than plain storage (`pipe:`, chained ones) are always refused, with
    a VideoError. Web addresses in a private network are refused only when they are read.
    """
    try:
        usable = bool(path) and b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        usable = False
    if not usable:
        raise VideoError("refused", f"{path[:100]!r} cannot be the name of a file")
    inside = "" if is_url(access.root) else _inside(path, access.root)
    if inside and os.path.isfile(inside):  # even if its name looks like a URL
        return inside
    scheme = scheme_of(path)
    if "::" in path or scheme not in ("", *REMOTE_SCHEMES, *LOCAL_SCHEMES):
        raise VideoError("refused", f"{path[:100]!r}: must be a file, {', '.join(REMOTE_SCHEMES)}")
    if scheme in REMOTE_SCHEMES:
        return scheme + path[len(scheme) :]
    if scheme:
        return _outside(re.sub(r"^\w+:(//)?", "", path), path, access)
    if is_url(access.root):
        if path.startswith("/") or ".." in path.split("/"):
            raise VideoError("refused", f"{path[:100]!r} leads out of the source")
        return f"{access.root.rstrip('/')}/{path}"
    return locate(path, access)


def locate(name: str, access: Access) -> str:
    """Return the real path of a local source's file or folder.

    Without --allow-local, raises VideoError if `..` or a link leads out of the source.
    """
    real = os.path.realpath(os.path.join(access.root, name))
    return _inside(name, access.root) or _outside(real, name, access)


def open_bytes(
    location: str,
    *,
    offset: int,
    size: int | None,
    max_bytes: int,
    private_hosts: bool = False,
) -> BinaryIO:
    """Open a resolved file, or `size` bytes of it.

    Remote files are read into memory. Raises VideoError if the file cannot be read or is too large.
    """
    if is_url(location):
        return io.BytesIO(_fetch(location, offset, size, max_bytes, private_hosts))
    try:
        file = open_file(location)
    except OSError as error:
        if isinstance(error, PermissionError):
            raise
        reason = "refused" if error.errno in NOT_REGULAR else "missing"
        raise VideoError(reason, str(error.strerror)) from None
    try:
        num_bytes = os.fstat(file.fileno()).st_size
        _check_size(num_bytes if size is None else size, max_bytes)
        if not num_bytes:
            raise VideoError("empty", "the file has no bytes")
        return file if size is None else _open_part(file, offset, size)
    except BaseException:
        file.close()
        raise


def _open_part(file: BinaryIO, offset: int, size: int) -> BinaryIO:
    """Return a member of a tar as a separate file."""

    def read_part(start: int, stop: int) -> bytes:
        file.seek(offset + start)
        return file.read(stop - start)

    return io.BufferedReader(FileOfParts(read_part, size, file.close))


def _fetch(url: str, offset: int, size: int | None, max_bytes: int, private_hosts: bool) -> bytes:
    """Read a remote file, retrying transient errors."""
    if size is not None:
        _check_size(size, max_bytes)
    shown = redact_url(url)

    def read() -> bytes:
        system, path = open_filesystem(url, private_hosts=private_hosts)
        if size is None:
            return read_file(system, path, max_bytes)
        return read_part(system, path, offset, offset + size)

    try:
        return retry(shown, read, ATTEMPTS_FOR_VIDEOS)
    except UserError as error:  # not a URL, no client, or no range requests
        raise VideoError("refused", redact(f"{shown}: {error}")) from None
    except PermissionError as error:
        refusal = find_refusal(error)
        remedy = f"{refusal.strerror}; --allow-private-hosts permits it" if refusal else ""
        raise VideoError("refused", f"{shown}: {remedy or error.strerror}") from None
    except FileNotFoundError:
        raise VideoError("missing", f"{shown}: no such object") from None
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise VideoError("limit", str(error.strerror)) from None
        raise VideoError("unreachable", str(error)) from None


def may_be_private(url: str, access: Access) -> bool:
    """Return whether an address is allowed to be in a private network.

    It is with --allow-private-hosts, and on the host of the source itself.
    """
    if access.allow_private_hosts or not is_url(access.root):
        return access.allow_private_hosts
    return host_of(url) == host_of(access.root) and is_private_host(access.root)


def _inside(path: str, root: str) -> str:
    """Return a file's real path inside the root, else ""."""
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
        raise VideoError("limit", f"{num_bytes} bytes, more than the limit of {max_bytes}")
