"""Data sets and videos that several tests use."""

from pathlib import Path

import pytest

from data_tools.build_shards import build
from tests.support.data_commands import PLAN
from tests.support.filming import counting, write_film
from tests.support.packing import FAST


@pytest.fixture
def data(tmp_path) -> Path:
    """A small finished data set."""
    build(PLAN, tmp_path / "data", num_workers=1)
    return tmp_path / "data"


@pytest.fixture
def videos(tmp_path) -> Path:
    """Six films with captions, one without, one broken.

    They make eight rows in four shards.
    """
    folder = tmp_path / "videos"
    (folder / "more").mkdir(parents=True)
    for name in ("a", "b", "c", "d", "more/e", "more/f", "uncaptioned"):
        write_film(folder / f"{name}.mp4", counting(8), FAST)
        if name != "uncaptioned":
            (folder / f"{name}.txt").write_text(f"film {name[-1]} counts\n")
    (folder / "broken.mp4").write_bytes(b"\0" * 999)
    (folder / "broken.txt").write_text("a broken film")
    return folder
