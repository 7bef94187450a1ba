"""What bad input gets: one clear line, exit code 2, no traceback, nothing lost."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.same_run import records
from t2vgan.shards import EncodedSample, load_manifest, read_samples, write_manifest, write_shard
from tests.system.commands import ROOT, environment, python, python_ok, train


def refuse(result: subprocess.CompletedProcess, *expected: str) -> None:
    """Check that a command left with exit code 2 and one helpful line."""
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    for text in expected:
        assert text in lines[0], lines[0]


@pytest.fixture
def data(circles, tmp_path) -> Path:
    return Path(shutil.copytree(circles, tmp_path / "data"))


def test_missing_and_empty_data_folders(tmp_path):
    refuse(python(*train(tmp_path / "none", tmp_path / "run")), "does not exist", "build_shards")
    (tmp_path / "empty").mkdir()
    refuse(python(*train(tmp_path / "empty", tmp_path / "run")), "manifest.json", "build_shards")
    assert not (tmp_path / "run").exists()


def first_shard(data: Path) -> Path:
    return data / load_manifest(data).shards[0].name


def truncate(data: Path) -> str:
    path = first_shard(data)
    path.write_bytes(path.read_bytes()[:-700])
    return "expected"


def flip_a_bit(data: Path) -> str:
    path = first_shard(data)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    return "expected sha256"


def put_something_else(data: Path) -> str:
    path = first_shard(data)
    path.write_bytes(b"PK" * (path.stat().st_size // 2))
    return "expected sha256"


def remove(data: Path) -> str:
    first_shard(data).unlink()
    return "is missing"


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, put_something_else, remove])
def test_a_shard_that_is_not_what_the_manifest_says(damage: Callable[[Path], str], data, tmp_path):
    expected = damage(data)
    refuse(python(*train(data, tmp_path / "run")), first_shard(data).name, expected)


def rewrite(data: Path, change: Callable[[EncodedSample], EncodedSample], share: int) -> None:
    """Change every `share`-th sample of every shard, with a manifest that agrees."""
    manifest = load_manifest(data)
    entries = []
    for entry in manifest.shards:
        samples = list(read_samples(data / entry.name))
        samples[::share] = map(change, samples[::share])
        entries.append(write_shard(data / entry.name, samples))
    write_manifest(data, manifest.model_copy(update={"shards": tuple(entries)}))


def without_prompt(sample: EncodedSample) -> EncodedSample:
    return EncodedSample(sample.key, {"webp": sample.members["webp"]})


def with_a_broken_strip(sample: EncodedSample) -> EncodedSample:
    return EncodedSample(sample.key, sample.members | {"webp": b"RIFF????WEBP"})


@pytest.mark.parametrize(
    ("change", "reason"), [(without_prompt, "no prompt"), (with_a_broken_strip, "strip")]
)
def test_bad_samples_are_named_counted_and_limited(change, reason, data, tmp_path):
    rewrite(data, change, share=10)
    result = python(*train(data, tmp_path / "strict"))
    refuse(result, "data.max_bad_fraction=0.01", "verify_shards")
    assert reason in result.stderr

    run_dir = tmp_path / "lenient"
    python_ok(*train(data, run_dir, "--data.max-bad-fraction", 0.5))
    counted = records(run_dir, "train")[-1]["data/bad_samples"]
    assert counted == pytest.approx(0.1 * 12 * 8, abs=4)
    assert any(reason in event["message"] for event in records(run_dir, "event"))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--data.num-streams", 7), ("data.num_streams=7 must be at most", "= 6")),
        (("--train.global-batch-size", 10), ("10 = 2 * 4 + 2", "--train.global-batch-size 8")),
        (("--train.micro-batch-size", 3), ("world_size * micro_batch_size = 1 * 3 = 3",)),
        (("--train.frames-per-clip", 9), ("train.frames_per_clip=9 must be at most", "6 frames")),
        (("--model.patch-size", 5), ("height=32 must be a multiple of", "= 20")),
    ],
)
def test_sizes_that_do_not_fit_show_the_arithmetic(options, expected, circles, tmp_path):
    refuse(python(*train(circles, tmp_path / "run", *options)), *expected)
    assert not (tmp_path / "run").exists()


def test_a_world_size_that_does_not_divide(circles, tmp_path):
    result = subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "3"),
            *("--master_port", "29531"),
            *map(str, train(circles, tmp_path / "run")),
        ],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode != 0
    assert "data.num_streams=4 must be a multiple of world_size=3 (4 = 1 * 3 + 1)" in result.stderr


def test_unknown_presets_and_options_name_the_nearest():
    refuse(python("train.py", "quickstrat"), "no preset named 'quickstrat'", "quickstart")
    result = python("train.py", "quickstart", "--train.num-stepz", 3)
    assert result.returncode == 2
    assert "--train.num-steps" in result.stderr + result.stdout
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "option",
    [
        ("--train.num-steps", "0"),
        ("--train.num-steps", "-5"),
        ("--train.generator-lr", "-1"),
        ("--model.channels", "0"),
        ("--log-every-steps", "0"),
        ("--keep-checkpoints", "1"),
    ],
)
def test_values_outside_their_rule_name_the_field(option):
    result = python("train.py", "quickstart", *option)
    assert result.returncode == 2
    assert "Traceback" not in result.stderr
    message = " ".join((result.stderr + result.stdout).split())
    assert option[0].lstrip("-").rpartition(".")[2].replace("-", "_") in message.replace("-", "_")
    assert "greater than" in message


def test_an_output_folder_that_is_a_file(circles, tmp_path):
    (tmp_path / "file").write_text("")
    result = python(*train(circles, tmp_path / "file" / "run"))
    refuse(result, "Not a directory")


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(circles, small_disk):
    """3 MB hold the first checkpoints of this model, not the growing log beside them."""
    run_dir = small_disk / "run"
    python_ok(*train(circles, run_dir, "--train.num-steps", 4))
    (small_disk / "ballast").write_bytes(bytes(free_bytes(small_disk) - 50_000))
    result = python(*train(circles, run_dir, "--train.num-steps", 8))
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    (small_disk / "ballast").unlink()
    resumed = python_ok(*train(circles, run_dir, "--train.num-steps", 8))
    assert "resumed at step 4" in resumed.stderr


def free_bytes(folder: Path) -> int:
    return shutil.disk_usage(folder).free


def test_help_answers_without_torch():
    code = "import sys, runpy; sys.argv = ['train.py', 'quickstart', '--help']\n"
    code += "try: runpy.run_path('train.py', run_name='__main__')\nexcept SystemExit: pass\n"
    code += "assert 'torch' not in sys.modules"
    python_ok("-c", code)
    result = python("train.py", "--help")
    assert result.returncode == 0
    assert "notebook" in result.stdout
