"""Fixtures shared by several test files."""

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.object_storage import running_storage, storage  # noqa: F401 (fixtures)

settings.register_profile("no deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no deadline")

# A shell that starts the tests in the background lets them, and their children, ignore Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)

SMALL_DISK_OPTIONS = "size=3m,nr_inodes=40"


# Of several workers (`--dist loadscope`) one runs all tests of a group: they need the same names or
# ports of this machine, or share what takes long to make.
GROUPS = {
    "tests/system/test_nodes.py": "hosts",
    "tests/system/test_slurm.py": "hosts",
    "tests/system/test_launch.py": "port 29500",
    "tests/system/test_ray.py": "ray",
    "tests/system/test_actions.py": "game engine",
    "tests/system/test_kills.py::test_gradients": "gradients",
    "tests/golden/test_golden.py": "golden",
    "tests/system/test_packaging.py": "wheel",
    "tests/system/test_demo.py": "demo",
    "tests/system/test_site.py": "site",
    "tests/system/test_remote_packing.py": "bucket",
    "tests/gan/test_compilation.py": "compiled code",
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Hand out single tests, but groups as a whole: pytest 9 ignores the marks of loadgroup."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            found = (group for start, group in GROUPS.items() if nodeid.startswith(start))
            return next(found, nodeid)

    return Scheduling(config, log) if config.getvalue("dist") == "loadscope" else None


def pytest_collection_modifyitems(items):
    """Skip what needs a GPU where there is none."""
    on_gpu = [item for item in items if item.get_closest_marker("gpu")]
    if on_gpu:
        import torch

        if not torch.cuda.is_available():
            for item in on_gpu:
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """Mount a real file system of 3 MB and 40 files: a disk that really gets full."""
    folder = tmp_path / "small_disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", SMALL_DISK_OPTIONS, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root; test_file_size_limit runs without")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def largest_file(num_bytes: int) -> Iterator[None]:
    """Let the kernel refuse every write beyond `num_bytes` of a file: needs no rights."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def file_size_limit():
    """Return the context manager `largest_file`."""
    return largest_file
