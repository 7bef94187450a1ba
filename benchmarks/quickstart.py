"""Measure training time until the quickstart follows its prompts, per seed.

Run `python -m benchmarks.quickstart --data data/circles`. Each seed is one complete run of
`train.py quickstart`, evaluated during training on 20 clips of each of the 18 prompts and of the
held-out one. Times are training time without sampling, evaluation and saving.
"""

import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import benchmark
from benchmarks.record import print_table, write_record
from benchmarks.training_run import TARGETS, train


def run(
    seeds: tuple[int, ...] = (0, 1, 2),
    data: Path = Path("data/circles"),
    out: Path = Path("runs/benchmark"),
    options: str = "",
    stop_at: float = 0.0,
    max_seconds: float = 0.0,
) -> int:
    """Train the quickstart once per seed; print and record after each evaluation.

    Args:
        seeds: Seeds of the runs.
        data: Shards of the circles scene.
        out: Folder for the run folders.
        options: Additional options of train.py, as in --options="--train.num-steps 100".
        stop_at: Stop a run once both accuracies have reached this; 0: train to the end.
        max_seconds: Stop a run after this many seconds; 0: train to the end.
    """
    results: dict[int, dict[str, Any]] = {}

    def record(seed: int, result: dict[str, Any]) -> Path:
        results[seed] = result
        device = "cpu" if result["device"].startswith("cpu") else "cuda"
        content = {"headline": format_headline(result), "options": options, "seeds": results}
        return write_record("quickstart", content, device=device)

    for seed in seeds:
        try:
            result = train(
                "quickstart",
                seed,
                data,
                out / f"seed-{seed}",
                shlex.split(options),
                stop_at=stop_at,
                max_seconds=max_seconds,
                on_evaluation=partial(record, seed),
            )
        except subprocess.CalledProcessError as error:
            print(f"seed {seed} failed: {error}", file=sys.stderr)
            continue
        path = record(seed, result)
        print_results(results)
        print(f"wrote {path}")
    return 0 if len(results) == len(seeds) else 1


def format_headline(result: dict[str, Any]) -> str:
    """Format the training times to 95 and 97 %."""
    times = {target: result["seconds_to"][target] for target in ("0.95", "0.97")}
    return ", ".join(
        f"{float(target):.0%} after {f'{seconds:.0f} s' if seconds else '-'}"
        for target, seconds in times.items()
    )


def print_results(results: dict[int, dict[str, Any]]) -> None:
    """Print a row per seed."""
    print_table(
        ["seed", *(f"s to {target:.0%}" for target in TARGETS), "last", "held out", "s", "GB"],
        [
            [
                seed,
                *(round(s) if s is not None else "never" for s in result["seconds_to"].values()),
                *(
                    f"{result['last'][name]:.1%}" if result["last"] else "-"
                    for name in ("accuracy", "accuracy_held_out")
                ),
                round(result["training_seconds"]),
                f"{result['peak_memory_gb']:.2f}",
            ]
            for seed, result in results.items()
        ],
    )


if __name__ == "__main__":
    benchmark(run)
