"""A small data set that every system test may read, and none may change."""

from pathlib import Path

import pytest

from tests.support.commands import python_ok


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def circles(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "circles"
    python_ok(
        "-m", "data_tools.build_shards", "circles", "--out", folder, "--num-clips", 120,
        "--clips-per-shard", 20, "--num-frames", 6, "--size", "32x48",
    )  # fmt: skip
    return folder
