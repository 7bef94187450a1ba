"""Lock a run_dir for one run.

The kernel holds the lock (flock), so a killed run leaves none; the file's text only names the
owner. On NFS the server holds it (Linux 2.6.12 and newer) and releases it when the client's process
ends.
"""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.utils.console import print_stderr
from t2vgan.utils.files import open_plain, remove_temporary_files

LOCK_NAME = ".lock"
TIMEOUT_SECONDS = 10.0  # a run whose launcher was killed may still be saving
CANNOT_LOCK = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


@contextmanager
def lock_run_dir(context: DistributedContext, run_dir: Path) -> Iterator[None]:
    """Lock a run_dir for one run over all its ranks (collective).

    Removes the temporary files of killed writers.

    Raises:
        UserError: on every rank, if another run holds it, or ranks see different folders.
    """
    with ExitStack() as stack:

        def lock() -> str:
            owner = stack.enter_context(locked(run_dir))
            for folder in ("", "samples", "heartbeats"):
                remove_temporary_files(run_dir / folder)
            return owner

        owner = context.run_on_main(lock)
        context.run_on_all(lambda: check_shared(run_dir, owner))
        yield


@contextmanager
def locked(run_dir: Path, timeout_seconds: float = TIMEOUT_SECONDS) -> Iterator[str]:
    """Hold a run_dir's lock on the main rank; yield its owner.

    Raises:
        UserError: another process holds the lock beyond the timeout, or run_dir is a file.
        OSError: the lock file is a link, or cannot be written.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise UserError(
            f"run_dir={run_dir}: a file has the name of this folder; choose another --run-dir"
        ) from None
    descriptor = open_plain(run_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    with open(descriptor, "a+") as file:  # closing it releases the lock
        deadline = time.monotonic() + timeout_seconds
        while not try_lock(file.fileno(), run_dir):
            file.seek(0)
            holder = file.read().strip() or "another process"
            if time.monotonic() > deadline:
                raise UserError(
                    f"run_dir={run_dir} is in use by {holder}; stop that run first, or use another"
                    " --run-dir"
                )
            time.sleep(0.2)
        file.truncate(0)
        owner = f"process {os.getpid()} on {socket.gethostname()}"
        file.write(owner)
        file.flush()
        os.fsync(file.fileno())  # other machines can read it now
        yield owner


def check_shared(run_dir: Path, owner: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
    """Check that this process sees the run_dir locked by `owner`.

    Raises:
        UserError: it does not within the timeout (network file systems show changes late).
    """
    deadline = time.monotonic() + timeout_seconds
    while read(run_dir / LOCK_NAME) != owner:
        if time.monotonic() > deadline:
            raise UserError(
                f"run_dir={run_dir} is not the same folder as on rank 0 ({owner}); put it where"
                " every machine sees the same files"
            )
        time.sleep(0.2)


def read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def try_lock(descriptor: int, run_dir: Path) -> bool:
    """Lock without waiting; return whether the run may proceed."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in CANNOT_LOCK:
            raise
        reason = f"cannot be locked ({error.strerror})"
        print_stderr(f"warning: {run_dir} {reason}: start only one run in it")
    return True
