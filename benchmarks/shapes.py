"""Train Moving Shapes from scratch and score it.

It measures the time until prompts are followed, then runs the full evaluation. Run
`python -m benchmarks.shapes --preset shapes --data data/shapes` on a GPU; on a CPU, use
`--preset shapes-cpu --data data/shapes-32`.
"""

import json
import shlex
from pathlib import Path
from typing import Any

from benchmarks.measure import benchmark, run_python
from benchmarks.record import print_table, write_record
from benchmarks.training_run import TARGETS, train


def run(
    preset: str = "shapes",
    data: Path = Path("data/shapes"),
    out: Path = Path("runs/benchmark-shapes"),
    seed: int = 0,
    num_clips: int = 3000,
    options: str = "",
) -> int:
    """Train a preset once and score its weights; print and record.

    Args:
        preset: shapes or shapes-cpu.
        data: Shards of the shapes scene, of the preset's size.
        out: Run folder.
        seed: Seed of the run.
        num_clips: Clips generated for the evaluation.
        options: Additional options of train.py.
    """
    result = train(preset, seed, data, out, shlex.split(options))
    evaluation = evaluate(out, data, num_clips)
    scores = evaluation["generated"]
    print_table(
        [*(f"s to {target:.0%}" for target in TARGETS), "all right", "held out", "one object"],
        [
            [
                *("never" if s is None else round(s) for s in result["seconds_to"].values()),
                *(f"{scores[name]:.1%}" for name in ("accuracy", "accuracy_held_out")),
                f"{scores['one_object']:.2%}",
            ]
        ],
    )
    device = "cpu" if result["device"].startswith("cpu") else "cuda"
    record = {"preset": preset, "seed": seed, "training": result, "evaluation": evaluation}
    print(f"wrote {write_record(preset.replace('-', '_'), record, device=device)}")
    return 0


def evaluate(run_dir: Path, data: Path, num_clips: int, *options: object) -> dict[str, Any]:
    """Score a run's weights; return its evaluation.json."""
    file = run_dir / "evaluation.json"
    files = ("--weights", run_dir, "--data", data, "--out", file)
    run_python("-m", "t2vgan.evaluation", *files, "--num-clips", num_clips, *options)
    return json.loads(file.read_text())


if __name__ == "__main__":
    benchmark(run)
