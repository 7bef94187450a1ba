"""Measure training time until the quickstart obeys its prompts, per seed.

`python -m benchmarks.quickstart --data data/circles`. Each seed is one whole run of
`train.py quickstart`; it is evaluated on 20 clips of each of the 18 prompts and of the held-out one
during training. Time is training time: sampling, evaluating and saving are excluded.
"""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import benchmark, run_python
from benchmarks.record import print_table, write_record

TARGETS = (0.90, 0.95, 0.99)


def run(
    seeds: tuple[int, ...] = (0, 1, 2),
    data: Path = Path("data/circles"),
    out: Path = Path("runs/benchmark"),
    options: str = "",
) -> int:
    """Train the quickstart once per seed; print and record after each.

    Args:
        seeds: Seeds of the runs.
        data: Shards of the circles scene.
        out: Folder of the run folders.
        options: Further options of train.py, as in --options="--train.num-steps 100".
    """
    results = {}
    for seed in seeds:
        try:
            results[seed] = train(seed, data, out / f"seed-{seed}", shlex.split(options))
        except subprocess.CalledProcessError as error:
            print(f"seed {seed} failed: {error}", file=sys.stderr)
            continue
        print_results(results)
        device = "cpu" if results[seed]["device"].startswith("cpu") else "cuda"
        record = {"options": options, "seeds": results}
        print(f"wrote {write_record('quickstart', record, device=device)}")
    return 0 if len(results) == len(seeds) else 1


def print_results(results: dict[int, dict[str, Any]]) -> None:
    """Print a row for each seed."""
    print_table(
        ["seed", *(f"s to {target:.0%}" for target in TARGETS), "last", "held out", "s", "GB"],
        [
            [
                seed,
                *(round(s) if s is not None else "never" for s in result["seconds_to"].values()),
                f"{result['last']['accuracy']:.1%}",
                f"{result['last']['accuracy_held_out']:.1%}",
                round(result["training_seconds"]),
                f"{result['peak_memory_gb']:.2f}",
            ]
            for seed, result in results.items()
        ],
    )


def train(
    seed: int, data: Path, run_dir: Path, options: list[str], *, preset: str = "quickstart"
) -> dict[str, Any]:
    """Train one seed from its start; return its logged results."""
    shutil.rmtree(run_dir, ignore_errors=True)
    files = ("--data.path", data, "--run-dir", run_dir)
    run_python("train.py", preset, *files, "--train.seed", seed, *options)
    records = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    readings = [record for record in records if record["kind"] == "evaluation"]
    lines = [record for record in records if record["kind"] == "train"]
    names = ("step", "seconds", "accuracy", "accuracy_held_out", "one_object", "diversity")
    return {
        "device": json.loads((run_dir / "run.json").read_text())["device"],
        "seconds_to": {str(target): seconds_to(target, readings) for target in TARGETS},
        "last": {name: readings[-1][name] for name in names},
        "training_seconds": lines[-1]["seconds"],
        "clips_seen": lines[-1]["clips_seen"],
        "peak_memory_gb": max(line["memory_gb"] for line in lines),
        "curve": [{name: reading[name] for name in names} for reading in readings],
    }


def seconds_to(target: float, readings: list[dict[str, Any]]) -> float | None:
    """Return when training and held-out prompts were first both at the target."""
    for reading in readings:
        if min(reading["accuracy"], reading["accuracy_held_out"]) >= target:
            return reading["seconds"]
    return None


if __name__ == "__main__":
    benchmark(run)
