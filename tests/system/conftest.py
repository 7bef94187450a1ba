"""A small data set and finished runs that every system test may read, and none may change.

Several workers run these tests (`make test-system`); tests/conftest.py names those that one worker
runs one after the other.
"""

from pathlib import Path

import pytest

from tests.support.commands import SAMPLED, faulty, python_ok, train
from tests.support.shared import make_once
from tests.support.warm import preload


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session", autouse=True)
def warm_training() -> None:
    preload("t2vgan.training.trainer", "torch._dynamo")


@pytest.fixture(scope="session")
def circles(tmp_path_factory) -> Path:
    def build(folder: Path) -> None:
        python_ok(
            "-m", "data_tools.build_shards", "circles", "--out", folder, "--num-clips", 120,
            "--clips-per-shard", 20, "--num-frames", 6, "--size", "32x48",
        )  # fmt: skip

    return make_once(tmp_path_factory, "circles", build)


@pytest.fixture(scope="session")
def finished_run(circles, tmp_path_factory) -> Path:
    """A run of one process that was never interrupted: what others must equal."""
    return make_once(
        tmp_path_factory, "finished_run", lambda run_dir: python_ok(*train(circles, run_dir))
    )


@pytest.fixture(scope="session")
def finished_run_with_samples(circles, tmp_path_factory) -> Path:
    return make_once(
        tmp_path_factory,
        "finished_run_with_samples",
        lambda run_dir: python_ok(*train(circles, run_dir, *SAMPLED)),
    )


@pytest.fixture(scope="session")
def finished_run_in_float64(circles, tmp_path_factory) -> Path:
    """What runs of several processes must equal, to many digits."""
    return make_once(
        tmp_path_factory,
        "finished_run_in_float64",
        lambda run_dir: python_ok(*faulty("float64", circles, run_dir)),
    )
