"""Folders in object storage and on the web, through fsspec: what fails for a moment is tried again.

The only door to remote storage. A client of its own kind of storage (s3fs, gcsfs, ...) does the
talking; how often and how long to insist is decided here, for all kinds alike.
"""

import errno
import logging
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from t2vgan.errors import UserError
from t2vgan.utils.urls import WEB_SCHEMES, scheme_of

logger = logging.getLogger(__name__)

REFUSALS = (400, 401, 403, 405, 410)  # of a web server: asking again changes nothing
ATTEMPTS = 7
FIRST_WAIT_SECONDS = 0.5  # doubles with every attempt: about half a minute in all
CHUNK_BYTES = 8 << 20  # of a large file, so that a cut connection costs little
OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 1}}},
}

Answer = TypeVar("Answer")


class RemoteFolder:
    """A folder behind a URL. One object serves all threads of a process."""

    def __init__(self, url: str) -> None:
        import fsspec

        self.url = url.rstrip("/")
        options = OPTIONS.get(scheme_of(url), {})
        try:
            self._system, root = fsspec.core.url_to_fs(
                self.url, use_listings_cache=False, **options
            )
        except (ImportError, ValueError) as error:
            raise UserError(f"{url}: {error}") from None
        self._root = root.rstrip("/")
        if scheme_of(url) == "s3":  # what s3fs and botocore insist on would multiply with ours
            self._system.retries = 1

    def read(self, name: str) -> bytes:
        """Return a small file's bytes; FileNotFoundError if it is not there."""
        return self._patiently(name, lambda: self._system.cat_file(self._path(name)))

    def size(self, name: str) -> int | None:
        """Return a file's bytes, None where the server does not say; or FileNotFoundError."""
        return self._patiently(name, lambda: self._system.info(self._path(name)).get("size"))

    def sizes(self) -> dict[str, int] | None:
        """Return the sizes of the files right in the folder; None of the web, which has no list."""
        if scheme_of(self.url) in WEB_SCHEMES:
            return None

        def list_files() -> dict[str, int]:
            try:
                found = self._system.ls(self._root, detail=True)
            except FileNotFoundError:  # a folder without files is none in object storage
                return {}
            names = ((file["name"].rpartition("/")[2], file) for file in found)
            return {name: file["size"] for name, file in names if file["type"] == "file"}

        return self._patiently("", list_files)

    def download(self, name: str, num_bytes: int, file: IO[bytes]) -> None:
        """Write a file's bytes, of which there are `num_bytes`, to `file` piece by piece."""
        for start in range(0, num_bytes, CHUNK_BYTES):
            file.write(self._read_part(name, start, min(start + CHUNK_BYTES, num_bytes)))

    def upload(self, path: Path, name: str) -> None:
        """Copy a local file here under a name, which never shows half of it."""
        self._patiently(name, lambda: self._system.put_file(str(path), self._path(name)))

    def write(self, name: str, data: bytes) -> None:
        """Write a small file in one piece."""
        self._patiently(name, lambda: self._system.pipe_file(self._path(name), data))

    def remove(self, name: str) -> None:
        """Remove a file."""
        self._patiently(name, lambda: self._system.rm_file(self._path(name)))

    def _read_part(self, name: str, start: int, stop: int) -> bytes:
        def read() -> bytes:
            data = self._system.cat_file(self._path(name), start=start, end=stop)
            if len(data) > stop - start:
                raise UserError(f"{self.url}/{name}: the server cannot send a part of a file")
            if len(data) < stop - start:
                raise ConnectionError(f"{len(data)} of {stop - start} bytes arrived")
            return data

        return self._patiently(name, read)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    def _patiently(self, name: str, ask: Callable[[], Answer]) -> Answer:
        """Return the answer to a request, which is repeated at growing intervals while it fails.

        Raises FileNotFoundError and PermissionError at once, OSError after the last attempt.
        """
        where = f"{self.url}/{name}".rstrip("/")
        for attempt in range(ATTEMPTS):
            try:
                return ask()
            except FileNotFoundError:
                raise FileNotFoundError(errno.ENOENT, "No such file", where) from None
            except PermissionError as error:
                raise PermissionError(errno.EACCES, f"refused ({_say(error)})", where) from None
            except UserError:
                raise
            except Exception as error:  # each kind of storage has its own
                if (status := getattr(error, "status", None)) in REFUSALS:  # aiohttp's, of the web
                    told = f"refused ({status} {getattr(error, 'message', '')})"
                    raise PermissionError(errno.EACCES, told, where) from None
                if "locate credentials" in str(error):  # botocore
                    raise UserError(f"{where}: {_say(error)}; set them for this storage") from None
                if attempt == ATTEMPTS - 1:
                    raise OSError(
                        f"{where}: {ATTEMPTS} attempts failed; last: {_say(error)}"
                    ) from None
                wait = FIRST_WAIT_SECONDS * 2**attempt * random.uniform(0.75, 1.25)
                if attempt:  # once is no news
                    logger.warning("%s: %s; trying again in %.1f s", where, _say(error), wait)
                time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")


def _say(error: BaseException) -> str:
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split())[:300] or type(error).__name__
