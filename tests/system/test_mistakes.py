"""What bad input gets: one clear line, exit code 2, no traceback, nothing lost."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from t2vgan.data.shards import (
    EncodedSample,
    load_manifest,
    read_samples,
    write_manifest,
    write_shard,
)
from t2vgan.utils.files import sha256_of
from tests.faults.same_run import records
from tests.support.commands import python, python_ok, train
from tests.support.warm import run_ranks, run_warm, run_warm_ok


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
    refuse(run_warm(*train(tmp_path / "none", tmp_path / "run")), "does not exist", "t2vgan build")
    (tmp_path / "empty").mkdir()
    refuse(run_warm(*train(tmp_path / "empty", tmp_path / "run")), "manifest.json", "t2vgan build")
    assert not (tmp_path / "run").exists()


def first_shard(data: Path) -> Path:
    return data / load_manifest(data).shards[0].name


def truncate(data: Path) -> str:
    path = first_shard(data)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
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
    refuse(run_warm(*train(data, tmp_path / "run")), first_shard(data).name, expected)


def believe_what_is_there(data: Path) -> None:
    """Make the manifest agree with the bytes of the first shard, whatever they are."""
    manifest, path = load_manifest(data), first_shard(data)
    first, *others = manifest.shards
    changes = {"num_bytes": path.stat().st_size, "sha256": sha256_of(path)}
    shards = (first.model_copy(update=changes), *others)
    write_manifest(data, manifest.model_copy(update={"shards": shards}))


@pytest.mark.parametrize(
    ("damage", "expected"), [(truncate, "truncated"), (put_something_else, "no tar header")]
)
def test_a_shard_that_was_no_whole_tar_from_the_start(damage, expected, data, tmp_path):
    damage(data)
    believe_what_is_there(data)
    refuse(run_warm(*train(data, tmp_path / "run")), first_shard(data).name, expected)


def test_a_manifest_that_counts_other_samples_than_its_shards_hold(data, tmp_path):
    manifest = load_manifest(data)
    shards = tuple(entry.model_copy(update={"num_samples": 21}) for entry in manifest.shards)
    write_manifest(data, manifest.model_copy(update={"shards": shards}))
    expected = ("the manifest lists 21 samples", "the shard ends after 20", "t2vgan verify")
    refuse(run_warm(*train(data, tmp_path / "run")), *expected)


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
    result = run_warm(*train(data, tmp_path / "strict"))
    refuse(result, "data.max_bad_fraction=0.01", "t2vgan verify")
    assert reason in result.stderr

    run_dir = tmp_path / "lenient"
    evaluating = ("--evaluate-every-steps", 6, "--evaluate-num-clips", 20)
    run_warm_ok(*train(data, run_dir, "--data.max-bad-fraction", 0.5, *evaluating))
    assert [record["diversity"] for record in records(run_dir, "evaluation")] == [None, None]
    counted = records(run_dir, "train")[-1]["data/bad_samples"]
    assert counted == pytest.approx(0.1 * 12 * 8, abs=4)
    assert any(reason in event["message"] for event in records(run_dir, "event"))


def test_of_a_long_caption_the_first_words_are_read(data, tmp_path):
    def with_a_long_caption(sample: EncodedSample) -> EncodedSample:
        return EncodedSample(sample.key, sample.members | {"txt": sample.members["txt"] * 70})

    rewrite(data, with_a_long_caption, share=1)
    manifest = load_manifest(data)
    prompts = {prompt * 70: count for prompt, count in manifest.prompts.items()}
    write_manifest(data, manifest.model_copy(update={"prompts": prompts}))
    run_warm_ok(*train(data, tmp_path / "run", "--sample-every-steps", 6))


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
    refuse(run_warm(*train(circles, tmp_path / "run", *options)), *expected)
    assert not (tmp_path / "run").exists()


def test_a_world_size_that_does_not_divide(circles, tmp_path):
    results = run_ranks(3, *train(circles, tmp_path / "run"))
    assert [result.returncode for result in results] == [2, 2, 2]
    errors = "".join(result.stderr for result in results)
    expected = "data.num_streams=4 must be a multiple of world_size=3 (4 = 1 * 3 + 1)"
    assert errors.count(expected) == 1


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--run-dir", "a", "quickstart"), ("the preset must come before --run-dir",)),
        (("quickstrat",), ("no preset named 'quickstrat'", "nearest: quickstart")),
        (
            ("quickstart", "--train.num-stepz", 3),
            ("--train.num-stepz", "nearest: --train.num-steps"),
        ),
        (("quickstart", "--train.num-steps", 0), ("train.num_steps=0", "greater than")),
        (("quickstart", "--train.num-steps", "many"), ("--train.num-steps", "'many'")),
        (("quickstart", "--train.num-steps"), ("--train.num-steps", "Missing")),
        (("quickstart", "--train.generator-lr", -1), ("train.generator_lr=-1.0", "greater than 0")),
        (("quickstart", "--train.precision", "bf17"), ("'bf17'", "--train.precision", "'bf16'")),
        (("quickstart", "--train.augment", 1.5), ("train.augment=1.5", "auto or between 0 and 1")),
        (("quickstart", "--train.gamma-start", 0), ("train.gamma_start=0.0", "must be positive")),
        (("notebook", "--train.mismatched-weight", 1), ("train.mismatched_weight=1.0", "be 0")),
        (("quickstart", "--model.channels", 0), ("model.channels=0", "greater than")),
        (("quickstart", "--data.max-bad-fraction", 2), ("data.max_bad_fraction=2.0", "less than")),
        (("quickstart", "--log-every-steps", 0), ("log_every_steps=0", "greater than")),
        (("quickstart", "--keep-checkpoints", 1), ("keep_checkpoints=1", "greater than")),
    ],
)
def test_presets_options_and_values_that_do_not_exist(arguments, expected):
    refuse(run_warm("train.py", *arguments), *expected)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("-m", "data_tools.build_shards", "circles"), "--out STR"),
        (("-m", "data_tools.inspect_shards", "nowhere", "--num-clip", 3), "nearest: --num-clips"),
        (
            ("-m", "t2vgan.evaluation", "--weights", "w", "--data", "d"),
            "data folder d does not exist",
        ),
        (("-m", "t2vgan.report", "nowhere"), "nowhere"),
        (("generate.py", "--prompt", "circle", "--weights", "nowhere.safetensors"), "no such file"),
    ],
)
def test_every_command_answers_in_one_line(arguments, expected):
    """More of generate.py's and the data tools' own mistakes stand beside their other tests."""
    refuse(run_warm(*arguments), expected)


def test_cuda_graphs_without_a_gpu(circles, tmp_path):
    result = run_warm(*train(circles, tmp_path / "run", "--cuda-graphs", "on"))
    refuse(result, "cuda_graphs=on is for GPUs", "use --cuda-graphs auto")
    assert not (tmp_path / "run").exists()


def test_an_output_folder_that_is_a_file(circles, tmp_path):
    (tmp_path / "file").write_text("")
    result = run_warm(*train(circles, tmp_path / "file" / "run"))
    refuse(result, "a file has the name of this folder; choose another --run-dir")


def test_an_output_folder_that_cannot_be_written(circles, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    build = ("-m", "data_tools.build_shards", "circles", "--num-clips", 8)
    draw = ("generate.py", "--prompt", "circle moving up-right")
    refuse(run_warm(*train(circles, small_disk / "run")), "Read-only file system")
    refuse(run_warm(*build, "--out", small_disk / "data"), "Read-only file system")
    refuse(run_warm(*draw, "--out", small_disk), "is not writable; choose another folder")


def test_a_disk_that_fills_up_keeps_the_last_checkpoint(circles, small_disk):
    """3 MB hold the first checkpoints of this model, not the growing log beside them."""
    run_dir = small_disk / "run"
    run_warm_ok(*train(circles, run_dir, "--train.num-steps", 4))
    (small_disk / "ballast").write_bytes(bytes(free_bytes(small_disk) - 50_000))
    result = run_warm(*train(circles, run_dir, "--train.num-steps", 8))
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    (small_disk / "ballast").unlink()
    resumed = run_warm_ok(*train(circles, run_dir, "--train.num-steps", 8))
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
