"""Training as users start, stop, resume and spread it."""

import json
import shutil
import signal
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from t2vgan.data.dataset import open_dataset
from t2vgan.evaluation.prompt_accuracy.prompts import assign_prompts
from t2vgan.evaluation.scores import score_clips
from t2vgan.media import film_strips
from t2vgan.pipeline import TextToVideo
from tests.faults.same_run import distance, load_networks, records
from tests.golden.outcomes import sha256
from tests.support.commands import accelerate, faulty, run_ok, torchrun, train
from tests.support.warm import run_warm, run_warm_ok, start_warm


def checkpoint(run_dir: Path, step: int) -> dict[str, dict]:
    return load_networks(run_dir / "checkpoints" / f"step_{step:08d}")


@pytest.fixture
def started_again(finished_run, tmp_path) -> Path:
    """A copy of a finished run, to be given to commands again."""
    return Path(shutil.copytree(finished_run, tmp_path / "again"))


def test_a_run_leaves_what_it_promises(finished_run):
    assert {"config.json", "run.json", "metrics.jsonl", "weights.safetensors"} <= {
        path.name for path in finished_run.iterdir()
    }
    command = json.loads((finished_run / "run.json").read_text())["command"]
    assert command.startswith(f"{sys.executable} train.py quickstart --data.path ")
    lines = records(finished_run, "train")
    assert [line["step"] for line in lines] == [2, 4, 6, 8, 10, 12]
    assert [line["clips_seen"] for line in lines] == [8 * line["step"] for line in lines]
    names = {path.name for path in (finished_run / "checkpoints").iterdir()}
    assert names == {"step_00000008", "step_00000012"}


def test_the_same_command_again_says_that_it_is_done(started_again, circles):
    before = (started_again / "metrics.jsonl").read_text()
    result = run_warm_ok(*train(circles, started_again))
    assert "is complete at step 12" in result.stderr
    assert (started_again / "metrics.jsonl").read_text() == before


LAUNCHERS = {"torchrun": torchrun, "accelerate": accelerate}


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_two_processes_train_the_model_of_one(launcher, finished_run_in_float64, circles, tmp_path):
    run_dir, expected_run = tmp_path / "run", finished_run_in_float64
    command = faulty("float64", circles, run_dir)
    run_ok(*LAUNCHERS[launcher](2), *command, ACCELERATE_USE_CPU="true")
    assert '"world_size": 2' in (run_dir / "run.json").read_text()
    assert distance(checkpoint(run_dir, 12), checkpoint(expected_run, 12)) < 1e-9
    for found, expected in zip(
        records(run_dir, "train"), records(expected_run, "train"), strict=True
    ):
        assert found["loss/discriminator"] == pytest.approx(
            expected["loss/discriminator"], rel=1e-9
        )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_same_command_resumes(number, circles, tmp_path):
    run_dir = tmp_path / "run"
    command = train(circles, run_dir, "--train.num-steps", 100_000, "--save-every-steps", 50_000)
    process = start_warm(*command)
    process.send_signal(number)
    _, output = process.communicate(timeout=300)
    assert process.returncode == 0
    assert "the same command resumes" in output
    assert "Traceback" not in output
    step = records(run_dir, "event")[-1]["step"]
    assert step >= 6
    result = run_warm_ok(*train(circles, run_dir, "--train.num-steps", step + 2))
    assert f"resumed at step {step}" in result.stderr
    assert f"train.num_steps: 100000 -> {step + 2}" in result.stderr


def test_an_option_that_makes_it_another_run_is_refused(started_again, circles):
    result = run_warm(*train(circles, started_again, "--train.generator-lr", 0.1))
    assert result.returncode == 2
    assert "train.generator_lr: 0.002 -> 0.1" in result.stderr
    assert "--run-dir" in result.stderr
    assert "Traceback" not in result.stderr


def test_other_data_is_refused_on_resume(started_again, tmp_path):
    other = tmp_path / "other"
    run_warm_ok(
        "-m", "data_tools.build_shards", "circles", "--out", other, "--num-clips", 120,
        "--clips-per-shard", 20, "--num-frames", 6, "--size", "32x48", "--seed", 1,
    )  # fmt: skip
    result = run_warm(*train(other, started_again))
    assert result.returncode == 2
    assert "is not the data that" in result.stderr


def test_a_dry_run_prints_and_writes_nothing(circles, tmp_path):
    run_dir = tmp_path / "run"
    result = run_warm_ok(*train(circles, run_dir, "--dry-run"))
    for text in (
        "parameters:", "8 clips per step = 1 processes * 1", "6 shards", "ms per step",
        "ESTIMATED", "plain step", "tensors at the peak", "H100 80 GB", "bound by",
    ):  # fmt: skip
        assert text in result.stdout
    assert not run_dir.exists()


def test_samples_and_readings_of_the_meter(circles, tmp_path):
    run_dir = tmp_path / "run"
    run_warm_ok(
        *train(
            circles, run_dir, "--train.num-steps", 4, "--sample-every-steps", 2,
            "--evaluate-every-steps", 4, "--evaluate-num-clips", 38,
        )
    )  # fmt: skip
    samples = records(run_dir, "samples")
    assert [record["step"] for record in samples] == [2, 4]
    for record in samples:
        assert (run_dir / record["file"]).exists()
        assert (run_dir / record["animation"]).exists()
        assert "circle moving up-right" in record["prompts"]
    seeds = records(run_dir, "seeds")
    assert [record["step"] for record in seeds] == [2, 4]
    assert all((run_dir / record["file"]).exists() for record in seeds)
    (data,) = records(run_dir, "data")
    assert data["builder"] == "circles"
    assert set(data["prompts"]) < set(samples[0]["prompts"]), "real clips, but of none held out"
    assert (run_dir / data["file"]).exists()
    (reading,) = records(run_dir, "evaluation")
    assert reading["num_clips"] == 2 * 19
    assert (run_dir / "weights_best.safetensors").exists()
    pipeline = TextToVideo.from_pretrained(run_dir / "weights.safetensors")
    manifest = open_dataset(circles).manifest
    prompts = assign_prompts(list(manifest.prompts), manifest.held_out_prompts, 38, seed=0)
    clips = pipeline.generate(prompts, range(38))  # each from latents of its own
    assert score_clips(clips, prompts).flicker == pytest.approx(reading["flicker"], rel=1e-3)


def test_samples_are_drawn_by_the_average_not_by_the_last_generator(finished_run_with_samples):
    """Both draw other clips; those in the samples, and the weights, are the average's."""
    run_dir = finished_run_with_samples
    record = records(run_dir, "samples")[-1]
    with Image.open(run_dir / record["file"]) as image:
        saved = sha256(image.convert("RGB").tobytes())
    pipeline = TextToVideo.from_pretrained(run_dir / "weights.safetensors")
    networks = checkpoint(run_dir, record["step"])
    drawn = {}
    for name in ("generator_ema", "generator"):
        tensors = {key: torch.from_numpy(value) for key, value in networks[name].items()}
        pipeline.generator.load_state_dict(tensors)
        clips = pipeline.generate(record["prompts"], [0] * len(record["prompts"]), batch_size=20)
        drawn[name] = sha256(film_strips(clips).tobytes())
    assert drawn["generator_ema"] == saved
    assert drawn["generator"] != saved
