"""One run_dir, one run: a lock that dies with its holder.

The kernel holds it (flock), so a killed run leaves none behind; the file's text only says who. On
NFS the server keeps it (Linux 2.6.12 and newer) and drops it when the client's process ends.
"""

import errno
import fcntl
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from t2vgan.errors import UserError

LOCK_NAME = ".lock"
PATIENCE_SECONDS = 10.0  # a run whose launcher was killed may just be saving
CANNOT_LOCK = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS}


@contextmanager
def locked(run_dir: Path, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[str]:
    """Hold a run_dir's lock; for the main rank only. Yields the word that the lock file holds.

    Raises:
        UserError: another process holds it, and did not let go within the patience.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    with open(run_dir / LOCK_NAME, "a+") as file:  # closing it lets go
        deadline = time.monotonic() + patience_seconds
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
        word = f"process {os.getpid()} on {socket.gethostname()}"
        file.write(word)
        file.flush()
        os.fsync(file.fileno())  # now other machines can read it
        yield word


def check_shared(run_dir: Path, word: str, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Check that this process sees the run_dir that the main rank has locked with that word.

    Raises:
        UserError: it does not, within the patience (network file systems show news late).
    """
    deadline = time.monotonic() + patience_seconds
    while read(run_dir / LOCK_NAME) != word:
        if time.monotonic() > deadline:
            raise UserError(
                f"run_dir={run_dir} is not the folder that rank 0 has ({word}); put it where every"
                " machine sees the same files"
            )
        time.sleep(0.2)


def read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


def try_lock(descriptor: int, run_dir: Path) -> bool:
    """Take the lock if it is free; a file system that cannot lock is said and passed over."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in CANNOT_LOCK:
            raise
        print(f"warning: {run_dir} cannot be locked ({error.strerror}): start one run in it only",
              file=sys.stderr)  # fmt: skip
    return True
