"""Measure the cost of saves and checks in training, for benchmarks/faults.py."""

import json
import time
from pathlib import Path
from statistics import median

from benchmarks.measure import run_python
from t2vgan.config.presets import PRESETS
from tests.faults.same_run import newest_checkpoint, records

NO_EVALUATION = ("--sample-every-steps", 0, "--evaluate-every-steps", 0)


def build_data(folder: Path, *, num_clips: int, size: str, num_frames: int) -> Path:
    run_python(
        "-m", "data_tools.build_shards", "circles", "--out", folder, "--num-clips", num_clips,
        "--clips-per-shard", num_clips // 8, "--size", size, "--num-frames", num_frames,
        capture_output=True,
    )  # fmt: skip
    return folder.resolve()


def measure_costs(out: Path) -> dict[str, float]:
    """Train the quickstart's model; measure the cost of saves and checks."""
    data = build_data(out / "full-size", num_clips=480, size="64x64", num_frames=10)
    run_dir = out / "costs"
    options = (
        "--data.path", data, "--run-dir", run_dir, "--save-every-steps", 8, *NO_EVALUATION,
        "--log-every-steps", 8, "--num-cpu-threads", 1,
    )  # fmt: skip

    def train(num_steps: int) -> float:
        """Return seconds from command to the first line of metrics."""
        start = time.time()
        length = ("--train.num-steps", num_steps)
        run_python("train.py", "quickstart", *options, *length, capture_output=True)
        first = next(r for r in records(run_dir, "train") if r["wall_time"] > start)
        return first["wall_time"] - start

    train(40)
    seconds_to_line = train(49)
    state = json.loads((newest_checkpoint(run_dir) / "state.json").read_text())
    stalls = [record["stall_seconds"] for record in records(run_dir, "checkpoint")]
    step = state["seconds"] / state["step"]
    writing = state["writing_seconds"] / max(1, len(stalls) - 1)  # the last one still wrote
    per_step = seconds_of_checks(run_dir, last_step=40)
    per_save = median(stalls) + writing
    save_every = PRESETS["quickstart"].save_every_steps
    return {
        "ms a step": 1000 * step,
        "ms a save stalls training, median": 1000 * median(stalls),
        "ms a save stalls training, most": 1000 * max(stalls),
        "ms of processor time that a save takes beside training": 1000 * writing,
        "ms a step to ask and to be told": 1000 * per_step,
        f"% of run time for safety, saving every {save_every} steps": 100
        * (per_save / save_every + per_step)
        / (step + per_step),
        "s from command to the eighth resumed step": seconds_to_line,
        "s of these spent on training": 8 * step,
    }


def seconds_of_checks(run_dir: Path, last_step: int) -> float:
    """Return seconds per step for stop checks and rank checks, without saves."""
    last = next(r for r in records(run_dir, "train") if r["step"] == last_step)
    saves = [r["stall_seconds"] for r in records(run_dir, "checkpoint") if r["step"] < last_step]
    return (last["safety_seconds"] - sum(saves)) / last_step
