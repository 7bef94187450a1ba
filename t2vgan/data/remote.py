"""Access folders in object storage and on the web, with retries.

Retries are the same for all kinds of storage.
"""

import errno
import io
import json
import logging
import random
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO, BinaryIO, TypeVar

from t2vgan.data.filesystems import (
    find_refusal,
    is_private_host,
    open_filesystem,
    read_file,
    read_part,
)
from t2vgan.errors import UserError
from t2vgan.utils.file_parts import FileOfParts
from t2vgan.utils.untrusted import MAX_JSON_BYTES
from t2vgan.utils.urls import WEB_SCHEMES, redact, redact_url, scheme_of

logger = logging.getLogger(__name__)

PERMANENT_STATUSES = (400, 401, 403, 405, 410)  # of HTTP: a retry would not help
ATTEMPTS = 7
TRANSIENT_VALUE_ERRORS = (OSError, UnicodeError, json.JSONDecodeError)
"""ValueErrors caused by connections and responses, not by URLs and clients."""
ATTEMPTS_FOR_VIDEOS = 3  # lists of videos are long, and some entries do not exist
FIRST_WAIT_SECONDS = 0.5  # doubles with every attempt: about half a minute in total
LAST_ATTEMPT_SECONDS = 30  # no attempt begins later, except a second one
CHUNK_BYTES = 8 << 20  # of a large file, so that a broken connection loses little
OPEN_FILE_BYTES = 1 << 18  # buffer of a file that is read at random positions

Result = TypeVar("Result")


class RemoteFolder:
    """A folder at a URL; one object can serve all threads.

    The attribute `url`, for messages, has no password.
    """

    def __init__(self, url: str) -> None:
        url = url.rstrip("/")
        self.url = redact_url(url)
        self._system, root = open_filesystem(url, private_hosts=is_private_host(url))
        self._root = root.rstrip("/")

    @property
    def address(self) -> str:
        """The URL with its password, for access."""
        return self._system.unstrip_protocol(self._root)

    def is_folder(self) -> bool:
        """Return whether the URL is that of a folder."""
        return self._retry("", lambda: self._system.isdir(self._root))

    def is_file(self, name: str) -> bool:
        """Return whether a file exists; the empty name is the URL itself."""
        return self._retry(name, lambda: self._system.isfile(self._path(name)))

    def find(self) -> list[str]:
        """Return the relative paths of all files below the URL."""
        paths = self._retry("", lambda: self._system.find(self._root))
        return [path.removeprefix(f"{self._root}/") for path in paths]

    def open(self, name: str) -> BinaryIO:
        """Open a file for random access."""
        size = self.size(name)
        if size is None or size <= CHUNK_BYTES:
            return io.BytesIO(self.read(name))
        return io.BufferedReader(FileOfParts(partial(self._read_part, name), size), OPEN_FILE_BYTES)

    def read_head(self, name: str, num_bytes: int) -> bytes:
        """Return the first bytes of a file."""
        path = self._path(name)
        return self._retry(name, lambda: read_part(self._system, path, 0, num_bytes))

    def read(self, name: str, max_bytes: int = MAX_JSON_BYTES) -> bytes:
        """Return a small file's bytes.

        Raises FileNotFoundError if it is missing, OSError if it has more than `max_bytes`.
        """
        return self._retry(name, lambda: read_file(self._system, self._path(name), max_bytes))

    def size(self, name: str) -> int | None:
        """Return a file's size in bytes; None if the server omits it.

        Raises FileNotFoundError if it is missing.
        """
        return self._retry(name, lambda: self._system.info(self._path(name)).get("size"))

    def sizes(self) -> dict[str, int] | None:
        """Return the sizes of files directly in the folder.

        Returns None for a web server, which has no listing.
        """
        if scheme_of(self.url) in WEB_SCHEMES:
            return None

        def list_files() -> dict[str, int]:
            try:
                found = self._system.ls(self._root, detail=True)
            except FileNotFoundError:  # object storage has no empty folders
                return {}
            names = ((file["name"].rpartition("/")[2], file) for file in found)
            return {name: file["size"] for name, file in names if file["type"] == "file"}

        return self._retry("", list_files)

    def download(self, name: str, num_bytes: int, file: IO[bytes]) -> None:
        """Write a remote file of `num_bytes` bytes to `file` in chunks."""
        for start in range(0, num_bytes, CHUNK_BYTES):
            file.write(self._read_part(name, start, min(start + CHUNK_BYTES, num_bytes)))

    def upload(self, path: Path, name: str) -> None:
        """Upload a local file under a name, atomically."""
        self._retry(name, lambda: self._system.put_file(str(path), self._path(name)))

    def write(self, name: str, data: bytes) -> None:
        """Write a small file in one request."""
        self._retry(name, lambda: self._system.pipe_file(self._path(name), data))

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._retry(name, lambda: self._system.rm_file(self._path(name)))

    def _read_part(self, name: str, start: int, stop: int) -> bytes:
        def read() -> bytes:
            data = read_part(self._system, self._path(name), start, stop)
            if len(data) < stop - start:
                raise ConnectionError(f"{len(data)} of {stop - start} bytes arrived")
            return data

        return self._retry(name, read)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _retry(self, name: str, request: Callable[[], Result]) -> Result:
        return retry(f"{self.url}/{name}".rstrip("/"), request)


def retry(where: str, request: Callable[[], Result], attempts: int = ATTEMPTS) -> Result:
    """Return a request's result, repeating it at growing intervals.

    `where` is named in messages.

    Raises:
        FileNotFoundError, PermissionError: at once.
        OSError: after the last attempt; at once (EFBIG) for a file that is too large.
        UserError: at once, for an invalid URL, or without a client, credentials or range requests.
    """
    started = time.monotonic()
    for attempt in range(attempts):
        try:
            return request()
        except PermissionError as error:
            raise PermissionError(errno.EACCES, f"refused ({_format(error)})", where) from None
        except (UserError, MemoryError):
            raise
        except Exception as error:  # each client has its own types
            if find_refusal(error):
                reason = "refused (a redirect into a private network)"
                raise PermissionError(errno.EACCES, reason, where) from None
            if isinstance(error, FileNotFoundError) and not isinstance(
                error.__cause__,
                OSError,  # fsspec raises it if a web server does not answer
            ):
                raise FileNotFoundError(errno.ENOENT, "No such file", where) from None
            if getattr(error, "errno", None) == errno.EFBIG:
                raise
            if (status := getattr(error, "status", None)) in PERMANENT_STATUSES:  # aiohttp's
                refusal = f"refused ({status} {getattr(error, 'message', '')})"
                raise PermissionError(errno.EACCES, refusal, where) from None
            if "locate credentials" in str(error):  # botocore
                raise UserError(f"{where}: {_format(error)}; set them for this storage") from None
            if isinstance(error, ValueError) and not isinstance(error, TRANSIENT_VALUE_ERRORS):
                raise UserError(f"{where}: {_format(error)}") from None
            late = attempt > 0 and time.monotonic() - started > LAST_ATTEMPT_SECONDS
            if late or attempt == attempts - 1:
                raise OSError(
                    f"{where}: {attempt + 1} attempts failed; last: {_format(error)}"
                ) from None
            wait = FIRST_WAIT_SECONDS * 2**attempt * random.uniform(0.75, 1.25)
            if attempt:  # a first failure is common
                logger.warning("%s: %s; trying again in %.1f s", where, _format(error), wait)
            time.sleep(wait)
    raise AssertionError("the last attempt returns or raises")


def _format(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return redact(" ".join(text.split()))[:300] or type(error).__name__
