"""Fine-tuning: a new run that starts from weights, its own or shipped ones."""

import json
from pathlib import Path

import numpy as np
import pytest

from t2vgan.checkpoint.weights import load_weights_info
from t2vgan.data.dataset import open_dataset
from t2vgan.pipeline import TextToVideo
from tests.faults.same_run import outcome, records
from tests.support.commands import faulty, train
from tests.support.shared import make_once
from tests.support.warm import run_warm, run_warm_ok

STILL = ("--train.num-steps", 2, "--train.generator-lr", 1e-12, "--train.beta2-end", 0.9)
PROMPT = "circle moving up"


@pytest.fixture(scope="session")
def squares(tmp_path_factory) -> Path:
    """Another data set, with other words."""

    def build(folder: Path) -> None:
        run_warm_ok(
            "-m", "data_tools.build_shards", "shapes", "--out", folder, "--num-clips", 80,
            "--clips-per-shard", 20, "--num-frames", 6, "--size", "32x48",
        )  # fmt: skip

    return make_once(tmp_path_factory, "squares", build)


def lines(result) -> list[str]:
    return [line for line in result.stderr.splitlines() if line.startswith("init_from: ")]


def test_known_prompts_draw_the_same_clip_and_new_words_are_learned(
    finished_run, squares, tmp_path
):
    run_dir = tmp_path / "run"
    result = run_warm_ok(*train(squares, run_dir, "--init-from", finished_run, *STILL))
    generator, vocabulary, discriminator = lines(result)
    assert f"generator from {finished_run}, step 12: " in generator
    assert "1 grown (text_encoder.words.weight)" in generator
    assert "fresh" not in generator
    assert f"discriminator from {finished_run}, step 12: " in discriminator
    before, after = map(TextToVideo.from_pretrained, (finished_run, run_dir))
    num_new = len(after.vocabulary.words) - len(before.vocabulary.words)
    assert num_new > 0
    assert vocabulary.endswith(f"{len(before.vocabulary.words)} known words, {num_new} new")
    clips = [p.generate([PROMPT], [3], allow_unknown=True) for p in (before, after)]
    assert np.array_equal(*clips)
    assert after.generate(["a red square is moving up"], [0]).shape == clips[0].shape
    record = json.loads((run_dir / "initial_weights.json").read_text())
    assert record["words"] == list(before.vocabulary.words)
    assert json.loads((run_dir / "config.json").read_text())["init_from"] == str(finished_run)


def test_a_killed_run_does_not_load_them_again_and_ends_with_the_same_bits(
    finished_run, squares, tmp_path
):
    expected, killed = tmp_path / "expected", tmp_path / "killed"
    options = ("--init-from", finished_run)
    run_warm_ok(*train(squares, expected, *options))
    for place in ("discriminator loss:2", "discriminator loss:6"):  # before a save, and after one
        assert run_warm(*faulty(f"kill@{place}", squares, killed, *options)).returncode == -9
    result = run_warm_ok(*train(squares, killed, *options))
    assert lines(result) == []
    assert outcome(killed) == outcome(expected)


def test_shipped_weights_stay_healthy_at_the_size_of_the_data(tmp_path):
    """A generator that obeys prompts and seeds raises no alarm."""
    data, run_dir = tmp_path / "data", tmp_path / "run"
    run_warm_ok(
        "-m", "data_tools.build_shards", "circles", "--out", data, "--num-clips", 120,
        "--clips-per-shard", 20, "--size", "64x64",
    )  # fmt: skip
    model = load_weights_info("circles").model
    options = [
        part
        for name in ("num_sprites", "camera_variation")
        for part in (f"--model.{name.replace('_', '-')}", getattr(model, name))
    ]
    result = run_warm_ok(
        "train.py", "quickstart", "--data.path", data, "--run-dir", run_dir, "--init-from",
        "circles", "--data.num-streams", 4, "--train.global-batch-size", 4, "--train.num-steps", 4,
        "--train.generator-lr", 1e-5, "--sample-every-steps", 4, "--evaluate-every-steps", 0,
        *options,
    )  # fmt: skip
    assert lines(result)[-1].startswith("init_from: discriminator: new; weights files hold only")
    (variety,) = records(run_dir, "variety")
    assert 0.3 < variety["prompts"] < 2
    assert 0.5 < variety["seeds"] < 1.5
    assert "alarm" not in result.stderr
    assert "complete at step 4 after" in result.stderr


@pytest.mark.parametrize(
    ("weights", "options", "expected"),
    [
        ("nowhere", (), "weights=nowhere: no such file"),
        ("README.md", (), "not a readable safetensors file"),
        ("circles", ("--model.hidden-size", 24), "--model.hidden-size 192 -> 24"),
    ],
)
def test_what_cannot_be_used_is_one_line(weights, options, expected, circles, tmp_path):
    run_dir = tmp_path / "run"
    result = run_warm(*train(circles, run_dir, "--init-from", weights, *options))
    assert result.returncode == 2
    assert expected in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (run_dir / "config.json").exists()


def test_another_kind_of_model_is_refused(finished_run, tmp_path):
    data = tmp_path / "data"
    run_warm_ok(
        "-m", "data_tools.build_shards", "circles", "--out", data, "--num-clips", 16,
        "--clips-per-shard", 2, "--size", "64x64",
    )  # fmt: skip
    result = run_warm(
        "train.py", "notebook", "--data.path", data, "--run-dir", tmp_path / "run", "--init-from",
        finished_run,
    )  # fmt: skip
    assert result.returncode == 2
    assert "is a clip_gan, but this run trains a notebook_gan" in result.stderr
    assert open_dataset(str(data)).manifest.num_samples == 16
