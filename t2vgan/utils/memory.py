"""Read the memory limit, and make malloc keep freed memory."""

import ctypes
import os
from pathlib import Path

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # from malloc.h
KEPT_BYTES = 2**30
"""malloc keeps freed blocks up to this size."""
OLD_LIMIT = 2**25
"""Largest size that glibc before 2.35 accepts."""
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def read_memory_size() -> int:
    """Return the memory of the machine or its container, in bytes."""
    sizes = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in LIMITS:
        try:
            sizes.append(int(path.read_text()))
        except (OSError, ValueError):  # another cgroup version, or "max"
            continue
    return min(sizes)


def keep_freed_memory() -> None:
    """Make malloc keep freed memory for later allocations.

    glibc returns large blocks to the system, so each training step on a CPU would request the same
    pages again, which takes a tenth of its time. Other C libraries are not changed.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt and (mallopt(M_MMAP_THRESHOLD, KEPT_BYTES) or mallopt(M_MMAP_THRESHOLD, OLD_LIMIT)):
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
