"""Write files atomically, and never through a link.

A folder may be shared with other users. Temporary files have random names, must not exist before,
and get their mode from the umask; a file that is opened by a fixed name must be a regular file.
"""

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from t2vgan.errors import UserError
from t2vgan.utils.untrusted import open_file

TEMPORARY_PREFIX = ".tmp-"
DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}  # writes, which name no file


def check_writable(folder: Path) -> None:
    """Raise UserError if a folder can be neither written to nor created."""
    ancestor = folder.absolute()
    while not ancestor.exists():
        ancestor = ancestor.parent
    if not ancestor.is_dir():
        raise UserError(f"--out {folder}: {ancestor} is a file; choose another folder")
    if not os.access(ancestor, os.W_OK | os.X_OK):
        raise UserError(f"--out {folder}: {ancestor} is not writable; choose another folder")


@contextmanager
def naming_file(path: Path | str) -> Iterator[None]:
    """Name `path` in disk errors, also in place of a temporary file."""
    try:
        yield
    except OSError as error:
        is_temporary = TEMPORARY_PREFIX in str(error.filename)
        if error.errno in DISK_ERRORS or is_temporary:
            error.filename, error.filename2 = str(path), None
        raise


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a hidden temporary file's path; on success rename it to `path`.

    The temporary file has the final suffix, for writers that choose a format by suffix. On an
    exception it is removed, and `path` stays as it was.
    """
    path = Path(path)
    with naming_file(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = create_temporary(path)
        try:
            mode = file_mode(temporary)
            yield temporary
            os.chmod(temporary, mode)  # some writers replace it by a file with another mode
            fsync_path(temporary)
            os.replace(temporary, path)
            fsync_path(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


def create_temporary(path: Path) -> Path:
    """Create an empty file beside `path`, with its suffix."""
    temporary = path.parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}{path.suffix}"
    os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
    return temporary


def create_temporary_folder(parent: Path) -> Path:
    """Create an empty folder in `parent`, with the umask's mode."""
    temporary = parent / f"{TEMPORARY_PREFIX}{secrets.token_hex(8)}"
    temporary.mkdir()
    return temporary


def file_mode(path: Path) -> int:
    """Return the mode of `path` without its execute bits."""
    return stat.S_IMODE(path.stat().st_mode) & 0o666


def remove_temporary_files(folder: Path) -> None:
    """Remove files left by killed writers; no process may be writing here."""
    for leftover in folder.glob(f"{TEMPORARY_PREFIX}*"):
        if leftover.is_symlink() or not leftover.is_dir():
            leftover.unlink(missing_ok=True)


def open_plain(path: Path, flags: int) -> int:
    """Open a regular file, but no link; return the descriptor.

    With O_CREAT, a new file gets its mode from the umask.

    Raises:
        NotPlainFileError: the path is a link, a pipe, a folder or the like.
    """
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        # ENXIO is raised for a pipe or a socket, EISDIR for a folder.
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
            raise NotPlainFileError(path) from None
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotPlainFileError(path)
    return descriptor


class NotPlainFileError(OSError):
    """A path is a link, a pipe or the like."""

    def __init__(self, path: Path) -> None:
        reason = "is a link, a pipe, a folder or the like, not a regular file; move it away"
        super().__init__(errno.ELOOP, reason, str(path))


def atomic_write_bytes(path: Path | str, data: bytes) -> None:
    """Write a small file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def sha256_of(path: Path | str) -> str:
    """Return the hex SHA-256 of a file's bytes."""
    with open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def fsync_path(path: Path) -> None:
    """Flush a file or a folder's directory entries to the disk.

    Some file systems cannot flush a folder (EINVAL); there, nothing is done for it.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def replace_file(path: Path, text: str) -> None:
    """Write a small file atomically, without fsync."""
    with naming_file(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = create_temporary(path)
        try:
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
