"""Present data that is read in parts as a file."""

import io
import os
from collections.abc import Callable
from typing import Any


class FileOfParts(io.RawIOBase):
    """A file of `size` bytes, read by a function of (start, stop)."""

    def __init__(
        self,
        read_part: Callable[[int, int], bytes],
        size: int,
        close: Callable[[], None] = lambda: None,
    ):
        super().__init__()
        self._read_part, self._size, self._close = read_part, size, close
        self._position = 0

    def readable(self) -> bool:
        """Return True: the file can be read."""
        return True

    def seekable(self) -> bool:
        """Return True: the file can be read from any position."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position and return it, as in `io.IOBase.seek`."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the current position; return the number of bytes."""
        stop = min(self._position + len(buffer), self._size)
        data = self._read_part(self._position, stop) if self._position < stop else b""
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        """Close the source of the data."""
        self._close()
        super().close()
