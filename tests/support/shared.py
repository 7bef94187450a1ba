"""What several tests read and none changes: made once, however many processes run the tests."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return a path that the first process to ask makes, and the other workers of xdist wait for.

    What `make` leaves behind when it fails does not count: the next one to ask tries again.
    """
    root = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        root = root.parent
    finished = root / name
    with open(root / f".{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            unfinished = factory.mktemp(name) / name
            make(unfinished)
            unfinished.rename(finished)
    return finished
