"""Run train.py, follow its metrics, and stop it early."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT
from t2vgan.tracking.metrics_log import read_records
from t2vgan.utils.files import atomic_write_bytes
from t2vgan.utils.records import get_number

TARGETS = (0.90, 0.95, 0.97, 0.99)
POLL_SECONDS = 0.5
COPY_SECONDS = 10.0
SAVING_SECONDS = 15.0  # time for the last checkpoint of a stopped run
READING = ("step", "seconds", "accuracy", "accuracy_held_out", "one_object", "diversity")
AGREEMENT = "clip_numbers.agreement.accuracy"  # if no meter reads the prompts

Records = list[dict[str, Any]]


def train(
    preset: str,
    seed: int,
    data: Path,
    run_dir: Path,
    options: Sequence[str],
    *,
    stop_at: float = 0.0,
    max_seconds: float = 0.0,
    copy_metrics_to: Path | None = None,
    on_evaluation: Callable[[dict[str, Any]], object] | None = None,
) -> dict[str, Any]:
    """Train one seed from its start; return its logged results.

    Args:
        stop_at: Stop, with a checkpoint, once both accuracies have reached this; 0: never.
        max_seconds: Stop this many seconds after the start; 0: never.
        copy_metrics_to: File to which metrics.jsonl is copied every ten seconds.
        on_evaluation: Called with the results so far after each evaluation.

    Raises:
        CalledProcessError: train.py failed.
    """
    shutil.rmtree(run_dir, ignore_errors=True)
    files = ("--data.path", data, "--run-dir", run_dir)
    command = ["train.py", preset, *files, "--train.seed", seed, *options]
    arguments = [sys.executable, *map(str, command)]
    start = copied = time.monotonic()
    num_evaluations, stopping = 0, False
    with subprocess.Popen(arguments, cwd=ROOT) as process:
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                records = read_metrics(run_dir)
                evaluations = [record for record in records if record["kind"] == "evaluation"]
                if on_evaluation and len(evaluations) > num_evaluations:
                    on_evaluation(summarise(run_dir, records))
                num_evaluations = len(evaluations)
                if copy_metrics_to and time.monotonic() - copied > COPY_SECONDS:
                    copy_metrics(run_dir, copy_metrics_to)
                    copied = time.monotonic()
                is_reached = stop_at and seconds_to(stop_at, evaluations) is not None
                is_late = max_seconds and time.monotonic() - start > max_seconds
                if (is_reached or is_late) and not stopping:
                    process.send_signal(signal.SIGTERM)
                    stopping = True
        except BaseException:
            process.send_signal(signal.SIGTERM)
            raise
    if copy_metrics_to:
        copy_metrics(run_dir, copy_metrics_to)
    if process.returncode not in (0, -signal.SIGTERM if stopping else 0):  # it may be at its end
        raise subprocess.CalledProcessError(process.returncode, arguments)
    return summarise(run_dir, read_metrics(run_dir))


def read_metrics(run_dir: Path) -> Records:
    """Read a run's records; none if it has not begun."""
    path = run_dir / "metrics.jsonl"
    return list(read_records(path)) if path.exists() else []


def copy_metrics(run_dir: Path, path: Path) -> None:
    """Copy a run's metrics as they are now."""
    source = run_dir / "metrics.jsonl"
    if source.exists():
        atomic_write_bytes(path, source.read_bytes())


def summarise(run_dir: Path, records: Records) -> dict[str, Any]:
    """Return a run's times to the targets, last evaluation, cost and curve."""
    evaluations = [record for record in records if record["kind"] == "evaluation"]
    lines = [record for record in records if record["kind"] == "train"]
    curve = [
        {name: reading.get(name) for name in READING}
        | {"agreement": get_number(reading, AGREEMENT)}
        for reading in evaluations
    ]
    last = records[-1] if records else {"seconds": 0.0, "step": 0, "clips_seen": 0}
    return {
        "device": json.loads((run_dir / "run.json").read_text())["device"],
        "seconds_to": {str(target): seconds_to(target, evaluations) for target in TARGETS},
        "last": curve[-1] if curve else None,
        "training_seconds": last["seconds"],
        "step": last["step"],
        "clips_seen": last["clips_seen"],
        "peak_memory_gb": max((line["memory_gb"] for line in lines), default=0.0),
        "curve": curve,
    }


def seconds_to(target: float, evaluations: Records) -> float | None:
    """Return when training and held-out prompts first both reached the target."""
    for evaluation in evaluations:
        accuracies = (evaluation.get(name) for name in ("accuracy", "accuracy_held_out"))
        if min(accuracy or 0.0 for accuracy in accuracies) >= target:
            return evaluation["seconds"]
    return None
