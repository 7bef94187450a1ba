"""Train a preset for as many steps as a time limit allows."""

import shlex
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.gpu_check.steps import read_config, running_steps
from benchmarks.measure import benchmark
from benchmarks.record import results_folder, write_record
from benchmarks.training_run import SAVING_SECONDS, train
from t2vgan.checkpoint.weights import find_weights
from t2vgan.config.presets import PRESETS
from t2vgan.errors import UserError
from t2vgan.pipeline import TextToVideo
from t2vgan.training.trainer import Trainer

START_SECONDS = 15.0  # start of train.py: imports, the device, compilation
SPARE = 1.1  # assumed time of a step in the run, relative to the measured one
MEASURED_STEPS = 48


def run(
    preset: str,
    data: Path,
    out: Path,
    seconds: float,
    seed: int = 0,
    num_evaluations: int = 8,
    evaluate_num_clips: int = 256,
    max_steps: int = 0,
    options: str = "",
) -> int:
    """Train within a time limit; write record, metrics and weights.

    A step is measured first. The record is written after each evaluation, and metrics are copied
    every ten seconds, so that an interrupted run leaves its results.

    Args:
        preset: Preset of train.py.
        data: Shards of the preset's size.
        out: Run folder.
        seconds: Time limit of everything, from start to end.
        seed: Seed of the run.
        num_evaluations: Evaluations during training; 0 for none, if preparing them takes minutes.
        evaluate_num_clips: Clips per evaluation.
        max_steps: Maximum number of steps; 0 means twice the preset's.
        options: Additional options of train.py.
    """
    end = time.monotonic() + seconds
    options += f" --evaluate-num-clips {evaluate_num_clips}"
    plan = plan_steps(preset, data, options, end, num_evaluations, max_steps)
    name, results = preset.replace("-", "_"), results_folder()
    content = {"preset": preset, "seed": seed, "seconds": seconds} | asdict(plan)

    def record(result: dict[str, Any]) -> Path:
        device = "cpu" if result["device"].startswith("cpu") else "cuda"
        headline = format_headline(result, plan.num_steps)
        return write_record(
            name, {"headline": headline} | content | {"training": result}, device=device
        )

    result = train(
        preset,
        seed,
        data,
        out,
        shlex.split(plan.options),
        max_seconds=end - time.monotonic() - SAVING_SECONDS,
        copy_metrics_to=results / f"{name}-metrics.jsonl",
        on_evaluation=record,
    )
    print(f"wrote {record(result)}")
    weights = results / f"{name}.safetensors"
    shutil.copyfile(find_weights(out), weights)
    print(f"wrote {weights}")
    return 0


@dataclass(frozen=True)
class Plan:
    """How to train a preset within a time limit."""

    measured: dict[str, float]
    """Seconds of a step, and of an evaluation."""
    num_steps: int
    options: str


def plan_steps(
    preset: str, data: Path, options: str, end: float, num_evaluations: int, max_steps: int
) -> Plan:
    """Measure a step, and choose how many are trained until `end`."""
    cost = measure(preset, data, options, with_evaluation=num_evaluations > 0)
    left = end - time.monotonic() - START_SECONDS - SAVING_SECONDS
    num_steps = fit_steps(left, num_evaluations=num_evaluations, **cost)
    num_steps = min(num_steps, max_steps or 2 * PRESETS[preset].train.num_steps)
    every = num_steps // num_evaluations if num_evaluations else 0
    options += (
        f" --train.num-steps {num_steps} --evaluate-every-steps {every}"
        f" --sample-every-steps {every} --save-every-steps {every or num_steps}"
        f" --log-every-steps {min(20, num_steps)}"
    )
    return Plan(cost, num_steps, options)


def measure(preset: str, data: Path, options: str, *, with_evaluation: bool) -> dict[str, float]:
    """Return the seconds of a step, and of sampling and evaluating once."""
    with tempfile.TemporaryDirectory() as folder:
        config = read_config(preset, data, Path(folder) / "run", options)
        with running_steps(config) as steps:
            every = max(1, steps.every)
            num_steps = -(-MEASURED_STEPS // every) * every if steps.device.type == "cuda" else 1
            return {
                "step_seconds": steps.time_steps(num_steps),
                "evaluation_seconds": time_evaluation(steps.trainer) if with_evaluation else 0.0,
            }


def time_evaluation(trainer: Trainer) -> float:
    """Return the seconds of sampling and evaluating, the second time.

    The first one also reads real clips.
    """
    pipeline = TextToVideo(trainer.gan.ema.model, trainer.vocabulary, trainer.weights_info)
    start = 0.0
    for _ in range(2):
        start = time.perf_counter()
        trainer.evaluator.run(pipeline, ("samples", "evaluation"), lambda: False)
    return time.perf_counter() - start


def fit_steps(
    seconds: float, *, step_seconds: float, evaluation_seconds: float, num_evaluations: int
) -> int:
    """Return how many steps fit into the time besides the evaluations.

    Raises:
        UserError: the evaluations need all of the time.
    """
    num_steps = int((seconds - num_evaluations * evaluation_seconds) / (SPARE * step_seconds))
    if num_steps < max(1, num_evaluations):
        raise UserError(f"seconds={seconds:.0f} are too few to train and evaluate; give more")
    return num_steps


def format_headline(result: dict[str, Any], num_steps: int) -> str:
    """Format a run's progress and the result of its last evaluation."""
    last = result["last"] or {}
    names = {"accuracy": "accuracy", "accuracy_held_out": "held out", "agreement": "agreement"}
    found = [f"{name} {last[key]:.1%}" for key, name in names.items() if last.get(key) is not None]
    return ", ".join([f"step {result['step']:,} of {num_steps:,}", *found])


if __name__ == "__main__":
    benchmark(run)
