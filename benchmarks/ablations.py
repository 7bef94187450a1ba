"""Train the same short run without each part of the recipe.

Run `python -m benchmarks.ablations --shapes data/shapes-32`. All rows are scored in the same way.
Every row is a complete run of the same number of steps, including schedules. The published
notebook's preset is included for comparison, on its own scene and on shapes.
"""

import time
from pathlib import Path
from typing import Any

from benchmarks.measure import benchmark, run_python
from benchmarks.record import print_table, write_record
from benchmarks.shapes import evaluate

OURS = {
    "ours": "",
    "no mismatched prompts": "--train.mismatched-weight 0",
    "no hard negatives": "--train.hard-mismatched-share 0",
    "all frames instead of four": "--train.frames-per-clip 16",
    "no layers at full resolution": "--model.pixel-channels 0",
    "no pooled features": "--model.no-pooled-features",
    "no recovered latents": "--train.recovered-latents 0",
    "no sprites, no camera": "--model.num-sprites 0 --model.camera-variation 0",
    "no camera": "--model.camera-variation 0",
}
SCORES = ("accuracy", "accuracy_interval", "accuracy_held_out", "one_object")
ATTRIBUTES = ("shape", "colour", "size", "motion")


def run(
    shapes: Path = Path("data/shapes-32"),
    notebook_shapes: Path = Path("data/shapes"),
    notebook: Path = Path("data/notebook"),
    num_steps: int = 3000,
    num_clips: int = 1000,
    only: tuple[str, ...] = (),
    out: Path = Path("runs/ablations"),
    options: str = "--num-cpu-threads 1",
) -> int:
    """Train and score every row; print and record the results after each.

    Args:
        shapes: Shards of Moving Shapes, 16 frames of 32x32.
        notebook_shapes: The same at 64x64, which the notebook's networks need.
        notebook: Shards of the notebook's own scene.
        num_steps: Steps of each run, of 16 frames for the notebook's preset and of 64 for ours.
        num_clips: Clips generated for the evaluation.
        only: Rows to run; by default all.
        out: Folder for the run folders; finished rows are not trained again.
        options: Additional options of train.py for every row.
    """
    rows = {name: ("shapes-cpu", shapes, f"{change} --train.num-steps {num_steps}")
            for name, change in OURS.items()}  # fmt: skip
    steps = f"--train.num-steps {num_steps}"
    rows["the published notebook, on its own scene"] = ("notebook", notebook, steps)
    rows["the published notebook, on shapes"] = ("notebook", notebook_shapes, steps)
    results: dict[str, dict[str, Any]] = {}
    for name in only or rows:
        results[name] = row(*rows[name], out / name.replace(" ", "-").replace(",", ""),
                            options=options, num_clips=num_clips)  # fmt: skip
        print_results(results)
        record = {"num_steps": num_steps, "options": options, "rows": results}
        print(f"wrote {write_record('ablations', record, device='cpu')}")
    return 0


def row(
    preset: str, data: Path, change: str, run_dir: Path, *, options: str, num_clips: int
) -> dict[str, Any]:
    """Train one row, unless it is trained, and return its scores."""
    common = ["--data.path", data, "--run-dir", run_dir, "--evaluate-every-steps", 0]
    start = time.monotonic()
    run_python("train.py", preset, *common, *change.split(), *options.split())
    seconds = time.monotonic() - start
    scores = evaluate(run_dir, data, num_clips)["generated"]
    return {
        "preset": preset,
        "change": change.strip(),
        "wall_seconds": round(seconds, 1),
        **{name: scores[name] for name in SCORES},
        "attributes": {name: score["right"] for name, score in scores["per_attribute"].items()},
    }


def print_results(results: dict[str, dict[str, Any]]) -> None:
    """Print a row per run."""
    print_table(
        ["recipe", "all right", "held out", *ATTRIBUTES, "one object"],
        [
            [
                name,
                *(percent(result[key]) for key in ("accuracy", "accuracy_held_out")),
                *(percent(result["attributes"].get(name)) for name in ATTRIBUTES),
                percent(result["one_object"]),
            ]
            for name, result in results.items()
        ],
    )


def percent(share: float | None) -> str:
    """Format a fraction in percent."""
    return "-" if share is None else f"{share:.1%}"


if __name__ == "__main__":
    benchmark(run)
