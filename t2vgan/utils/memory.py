"""Memory: how much a process may use, and how it is kept."""

import ctypes
import os
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of malloc.h
KEPT_BYTES = 2**30
"""Freed blocks up to this size are kept."""
OLD_LIMIT = 2**25
"""Largest size that glibc before 2.35 takes."""
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def read_memory_size() -> int:
    """Return the machine's memory in bytes, or what its container allows."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in LIMITS:
        try:
            sizes.append(int(path.read_text()))
        except (OSError, ValueError):  # another version, or "max"
            continue
    return min(sizes)


def keep_freed_memory() -> None:
    """Have malloc keep what is freed for what comes next.

    glibc gives large blocks back to the system, so that each training step on a CPU would ask for
    the same pages again, a tenth of its time. Other C libraries stay as they are.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and (mallopt(M_MMAP_THRESHOLD, KEPT_BYTES) or mallopt(M_MMAP_THRESHOLD, OLD_LIMIT)):
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
