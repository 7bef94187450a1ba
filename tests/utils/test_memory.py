"""Freed memory stays with the process: no page is asked for twice."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, resource, sys
from t2vgan.utils.memory import keep_freed_memory

if sys.argv[1] == "keeps":
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]


def fill():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(16 * 2**20)
    ctypes.memset(block, 1, 16 * 2**20)
    libc.free(block)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


print(fill(), fill())
"""


def count_faults(mode: str) -> list[int]:
    command = [sys.executable, "-c", PROGRAM, mode]
    return list(map(int, subprocess.run(command, capture_output=True, check=True).stdout.split()))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is of glibc")
def test_freed_blocks_are_used_again():
    first, again = count_faults("as it is")
    assert again > 0.9 * first > 0, "or this test shows nothing"
    first, again = count_faults("keeps")
    assert again < 0.1 * first
