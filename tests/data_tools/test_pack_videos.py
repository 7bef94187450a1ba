"""A shard is a pure function of its rows; tasks and wrong arguments."""

import subprocess
import sys

import pytest

from data_tools.videos.input_list.sources import read_source
from data_tools.videos.input_list.tables import Columns
from t2vgan.data.manifest import load_manifest
from t2vgan.errors import UserError
from tests.support.data_commands import ROOT, files_in, run
from tests.support.packing import contents, pack


def test_the_same_bytes_whatever_the_parallelism(tmp_path, videos):
    assert pack(videos, tmp_path / "one").returncode == 0
    assert pack(videos, tmp_path / "two", workers=2).returncode == 0
    for index in (2, 0, 1):
        result = pack(videos, tmp_path / "tasks", "--task-index", index, "--task-count", 3)
        assert result.returncode == 0, result.stderr
        assert not (tmp_path / "tasks" / "manifest.json").exists()
    assert run("merge_manifests", tmp_path / "tasks").returncode == 0
    moved = tmp_path / "elsewhere"
    videos.rename(moved)
    assert pack(moved, tmp_path / "moved").returncode == 0
    one = files_in(tmp_path / "one")
    assert set(one) == {
        "manifest.json", "failures.jsonl", *(f"videos-{i:06d}.tar" for i in range(4)),
    }  # fmt: skip
    for other in ("two", "tasks", "moved"):
        assert files_in(tmp_path / other) == one, other


def test_merging_waits_for_every_task(tmp_path, videos):
    options = ["--task-count", 2, "--task-index"]
    assert pack(videos, tmp_path / "out", *options, 0).returncode == 0
    result = run("merge_manifests", tmp_path / "out")
    assert result.returncode == 2
    assert "2 of 4 shards are missing or damaged (numbers 1, 3)" in result.stderr
    assert pack(videos, tmp_path / "out", *options, 1).returncode == 0
    shard = tmp_path / "out" / "videos-000000.tar"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert "numbers 0" in run("merge_manifests", tmp_path / "out").stderr
    assert pack(videos, tmp_path / "out", *options, 0).returncode == 0
    (tmp_path / "out" / ".tmp-left-by-a-killed-task").touch()
    assert run("merge_manifests", tmp_path / "out").returncode == 0
    assert not list((tmp_path / "out").glob(".*")), "no journal and no temporary file stays"


def test_tasks_try_failed_rows_again_and_merge(tmp_path, videos):
    options = ["--task-count", 2, "--task-index"]
    for index in range(2):
        assert pack(videos, tmp_path / "out", *options, index).returncode == 0
    assert run("merge_manifests", tmp_path / "out").returncode == 0
    (videos / "broken.mp4").write_bytes((videos / "a.mp4").read_bytes())
    for index in range(2):
        result = pack(videos, tmp_path / "out", "--retry-failed", *options, index)
        assert result.returncode == 0, result.stderr
    assert run("merge_manifests", tmp_path / "out").returncode == 0
    assert contents(tmp_path / "out")[2] == "a broken film"
    assert load_manifest(tmp_path / "out").input.failures == {"prompt": 1}, "not the old manifest"


def test_a_cluster_tells_the_task_by_its_variables(tmp_path, videos, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "1")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "3")
    result = pack(videos, tmp_path / "out", "--plan-only")
    assert "task 1 of 3: 1 shards, [1]" in result.stdout
    assert not (tmp_path / "out").exists()
    monkeypatch.delenv("SLURM_ARRAY_TASK_COUNT")
    result = pack(videos, tmp_path / "out")
    assert result.returncode == 2
    assert "SLURM_ARRAY_TASK_ID is set without SLURM_ARRAY_TASK_COUNT; give --task" in result.stderr
    result = pack(videos, tmp_path / "out", "--plan-only", "--task-index", 1)
    assert "--task-index needs --task-count" in result.stderr


@pytest.mark.parametrize(
    ("number", "first", "step", "expected"),
    [(1, 1, 1, "task 0 of 3"), (3, 1, 1, "task 2 of 3"), (14, 10, 2, "task 2 of 3")],
)
def test_an_array_may_begin_at_any_number(
    number, first, step, expected, tmp_path, videos, monkeypatch
):
    values = {"ID": number, "COUNT": 3, "MIN": first, "STEP": step}
    for name, value in values.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    result = pack(videos, tmp_path / "out", "--plan-only")
    assert f"{expected} of this job array" in result.stdout
    assert f"{expected}: " in result.stdout
    result = pack(videos, tmp_path / "out", "--plan-only", "--task-index", 0, "--task-count", 1)
    assert "task " not in result.stdout, "the array has another purpose"


def test_an_array_with_gaps_is_named(tmp_path, videos, monkeypatch):
    for name, value in {"ID": 7, "COUNT": 3, "MIN": 1, "STEP": 1}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    result = pack(videos, tmp_path / "out", "--plan-only")
    assert result.returncode == 2
    assert "SLURM_ARRAY_TASK_ID=7: the array has 3 tasks from 1 in steps of 1" in result.stderr
    assert "use --array=0-2" in result.stderr


def test_other_settings_or_rows_are_refused(tmp_path, videos):
    assert pack(videos, tmp_path / "out").returncode == 0
    result = pack(videos, tmp_path / "out", "--quality", 80)
    assert result.returncode == 2
    assert "quality=90, not 80" in result.stderr
    (videos / "a.txt").write_text("another caption")
    result = pack(videos, tmp_path / "out")
    assert result.returncode == 2
    assert (
        "out holds a build of another input (a row or a caption differs); choose" in result.stderr
    )


def test_a_damaged_shard_is_made_again(tmp_path, videos):
    assert pack(videos, tmp_path / "out").returncode == 0
    before = files_in(tmp_path / "out")
    (tmp_path / "out" / "videos-000002.tar").write_bytes(b"damaged")
    assert pack(videos, tmp_path / "out").returncode == 0
    assert files_in(tmp_path / "out") == before
    assert "already complete" in pack(videos, tmp_path / "out").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fps", 0], "--fps 0.0: must be above 0"),
        (["--fps", "nan"], "--fps nan"),
        (["--num-frames", 0], "--num-frames 0: must be at least 1"),
        (["--size", "9000x64", "--num-frames", 16], "16 * 9000 = 144000 rows"),
        (["--quality", 101], "--quality 101: must be between 1 and 100"),
        (["--stride", -1], "--stride -1.0"),
        (["--clips-per-video", -1], "--clips-per-video -1"),
        (["--max-bad-fraction", 2], "--max-bad-fraction 2.0"),
        (["--task-index", 2, "--task-count", 2], "must be between 0 and --task-count - 1 = 1"),
        (["--task-count", 2], "--task-count needs --task-index"),
        (["--task-index", 0, "--task-count", 0], "--task-count 0: must be at least 1"),
        (["--retry-failed"], "holds no finished data set"),
    ],
)
def test_wrong_arguments_are_one_line(tmp_path, videos, arguments, message):
    result = run("pack_videos", videos, "--out", tmp_path / "out", *arguments)
    assert result.returncode == 2
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_packing_never_imports_torch(tmp_path, videos):
    code = f"""
import sys
sys.argv = ["pack_videos", {str(videos)!r}, "--out", {str(tmp_path / "out")!r}, "--workers", "1",
            "--num-frames", "4", "--max-bad-fraction", "0.5", "--fps", "5"]
from data_tools import pack_videos
assert pack_videos.main() == 0
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)


def test_a_missing_column_lists_the_columns(tmp_path):
    (tmp_path / "metadata.csv").write_text("id,where\n1,a.mp4\n")
    with pytest.raises(
        UserError, match="its columns are id, where; choose one with --video-column"
    ):
        read_source(str(tmp_path), Columns())


def test_plan_only_says_what_would_be_done(tmp_path, videos):
    result = pack(videos, tmp_path / "out", "--plan-only")
    assert result.returncode == 0
    assert "8 videos (folder) -> 4 shards, videos-000000.tar to videos-000003.tar" in result.stdout
    assert "1 clip at most per video, from its start (--clips-per-video 0" in result.stdout
    assert not (tmp_path / "out").exists()


def test_a_small_input_makes_as_many_shards_as_training_has_streams(tmp_path):
    lines = "".join(f"{i}.mp4,a film\n" for i in range(17))
    (tmp_path / "metadata.csv").write_text(f"video,prompt\n{lines}")
    arguments = ["pack_videos", tmp_path, "--out", tmp_path / "out", "--size", "50x64"]
    result = run(*arguments, "--plan-only")
    assert "17 videos (metadata.csv) -> 9 shards" in result.stdout
    assert "note: --size 50x64: train.py's presets need multiples of 16" in result.stdout
