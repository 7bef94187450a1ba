"""Test that exactly the damaged shards are made again."""

from pathlib import Path

import pytest

from data_tools.build.scene_build import BuildPlan
from data_tools.build_shards import build
from tests.support.data_commands import files_in, run
from tests.support.filming import counting, write_film
from tests.support.shards import CLIP_GEOMETRY

PACKING = [
    *("--num-frames", "4", "--fps", "5", "--size", "32x32", "--rows-per-shard", "2"),
    *("--workers", "1"),
]


@pytest.fixture
def circles(tmp_path) -> Path:
    build(BuildPlan("circles", 50, 20, CLIP_GEOMETRY, seed=0), tmp_path / "circles", num_workers=1)
    return tmp_path / "circles"


def test_repair_makes_exactly_the_damaged_shards(tmp_path):
    videos, out = tmp_path / "videos", tmp_path / "out"
    videos.mkdir()
    for name in "abcdef":
        write_film(videos / f"{name}.mp4", counting(8))
        (videos / f"{name}.txt").write_text(f"film {name}")
    assert run("pack_videos", videos, "--out", out, *PACKING).returncode == 0
    before = files_in(out)
    whole = {p: p.stat().st_mtime_ns for p in out.glob("*.tar") if "000001" not in p.name}
    (out / "videos-000001.tar").write_bytes(b"")
    assert run("repair_shards", out).returncode == 2, "without its source"
    result = run("repair_shards", out, "--source", videos)
    assert result.returncode == 0, result.stderr
    assert "videos-000001.tar: repaired" in result.stdout
    assert files_in(out) == before
    assert whole == {path: path.stat().st_mtime_ns for path in whole}
    assert "all intact" in run("repair_shards", out).stdout
    (out / "videos-000002.tar").unlink()
    write_film(videos / "e.mp4", counting(8)[::-1])
    result = run("repair_shards", out, "--source", videos)
    assert result.returncode == 1
    assert "videos-000002.tar: rebuilt, with OTHER bytes" in result.stdout
    assert run("verify_shards", out).returncode == 0


def test_repair_renders_scenes_again(circles):
    before = files_in(circles)
    (circles / "circles-00002.tar").unlink()
    assert run("repair_shards", circles).returncode == 0
    assert files_in(circles) == before
