"""Evaluation during training of data whose prompts no meter reads."""

from pathlib import Path

import numpy as np
import pytest

from t2vgan.checkpoint.weights import load_weights_info
from t2vgan.data.shards import Geometry, encode_sample, write_manifest, write_shard
from t2vgan.evaluation.scores import may_reach
from t2vgan.report import write_report
from tests.faults.same_run import records
from tests.support.commands import faulty, train
from tests.support.shards import make_manifest
from tests.support.warm import run_ranks_ok, run_warm_ok

GEOMETRY = Geometry(num_frames=4, height=32, width=32)
PROMPTS = ("a dark room", "a bright room")
NUM_SHARDS, CLIPS_PER_SHARD = 8, 20
EVALUATED = ("--evaluate-every-steps", 6, "--evaluate-num-clips", 40)


def draw(number: int) -> np.ndarray:
    """Return a clip of noise whose level is that of its prompt."""
    level = (60, 180)[number % 2]
    noise = np.random.default_rng(number).integers(0, 40, GEOMETRY.shape)
    return (level + noise).astype(np.uint8)


@pytest.fixture
def rooms(tmp_path) -> Path:
    """Clips whose prompts the grammar does not know."""
    folder, entries = tmp_path / "rooms", []
    for shard in range(NUM_SHARDS):
        numbers = range(shard * CLIPS_PER_SHARD, (shard + 1) * CLIPS_PER_SHARD)
        samples = [encode_sample(f"{n:04d}", draw(n), PROMPTS[n % 2], {"fps": 5}) for n in numbers]
        entries.append(write_shard(folder / f"rooms-{shard}.tar", samples))
    prompts = dict.fromkeys(PROMPTS, NUM_SHARDS * CLIPS_PER_SHARD // 2)
    write_manifest(folder, make_manifest(*entries, geometry=GEOMETRY, fps=5, prompts=prompts))
    return folder


def agreements(run_dir: Path) -> dict[int, float]:
    return {
        record["step"]: record["clip_numbers"]["agreement"]["accuracy"]
        for record in records(run_dir, "evaluation")
    }


def test_two_processes_measure_what_one_does_and_the_best_is_kept(rooms, tmp_path):
    both, single = tmp_path / "both", tmp_path / "single"
    stderr = run_ranks_ok(2, *train(rooms, both, *EVALUATED), ACCELERATE_USE_CPU="true")
    assert "a probe is loaded, or trained for minutes" in stderr
    result = run_warm_ok(*train(rooms, single, *EVALUATED))
    assert "text-video agreement" in result.stderr
    found = agreements(single)
    assert list(found) == [6, 12]
    assert agreements(both) == pytest.approx(found, abs=0.1)
    numbers = records(single, "evaluation")[-1]["clip_numbers"]
    assert numbers["agreement"]["real"] > 0.9
    assert numbers["agreement"]["real_prompts_shuffled"] < 0.8
    assert numbers["num_clips"] == 40
    capped = {step: min(value, numbers["agreement"]["real"]) for step, value in found.items()}
    best = max(step for step in found if may_reach(max(capped.values()), capped[step], 40))
    assert load_weights_info(single / "weights_best.safetensors").step == best
    page = write_report(single).read_text()
    assert "not measured, because the meter does not know these prompts" in page
    assert "not reached yet" not in page
    assert "Text-video agreement" in page


def test_a_probe_in_training_obeys_a_stop_signal(rooms, tmp_path):
    """It is saved before the first step, and the same command goes on from there."""
    run_dir = tmp_path / "run"
    stopped = run_warm_ok(*faulty("term@probe batch:3", rooms, run_dir, *EVALUATED))
    assert "the probe is ready" not in stopped.stderr
    (*_, last) = records(run_dir, "event")
    assert last["message"] == "stopped at step 0 (SIGTERM); the same command resumes"
    assert (run_dir / "checkpoints" / "step_00000000").is_dir()
    assert not list(rooms.glob("probe-*")), "half a probe is not cached"
    again = run_warm_ok(*train(rooms, run_dir, "--train.num-steps", 2))  # and no evaluation
    assert "is complete" not in again.stderr
    assert [record["step"] for record in records(run_dir, "train")] == [2]
    assert len(records(run_dir, "data")) == 1


def test_without_an_evaluation_no_probe_is_trained_and_the_report_says_so(rooms, tmp_path):
    run_dir = tmp_path / "run"
    result = run_warm_ok(*train(rooms, run_dir, "--train.num-steps", 4))
    assert "probe" not in result.stderr
    assert not list(rooms.glob("probe-*"))
    page = write_report(run_dir).read_text()
    assert "not measured, because --evaluate-every-steps is 0" in page
    assert "not reached yet" not in page
