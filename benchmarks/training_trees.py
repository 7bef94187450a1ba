"""Compare training steps of this version with those of an earlier one.

`python -m benchmarks.training_trees TREE` measures clips/s of the quickstart and of shapes-cpu with
the code of another checkout and of this one.
"""

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.clips import SCENES, write_clips
from benchmarks.measure import ROOT, benchmark, print_summary, summarise
from benchmarks.record import write_record
from benchmarks.training_turns import Worker, run_worker_turns
from t2vgan.config.presets import PRESETS

COMPARED = ("quickstart", "shapes-cpu")


def run(baseline: Path, /, turns: int = 9, steps_per_turn: int = 8, threads: int = 1) -> None:
    """Time both trees turn by turn; print and record.

    Args:
        baseline: Checkout of the earlier version.
        turns: Turns of each tree; medians of rates and of the turns' ratios are reported.
        steps_per_turn: Steps per turn; every eighth has the penalty.
        threads: PyTorch threads of each process.
    """
    record: dict[str, Any] = {"steps_per_turn": steps_per_turn, "threads": threads}
    for preset in COMPARED:
        with tempfile.TemporaryDirectory() as name:
            write_clips(Path(name), *SCENES[preset])
            trees = {"baseline": baseline.resolve(), "this tree": ROOT}
            workers = {
                way: Worker(preset, Path(name), threads, tree=tree) for way, tree in trees.items()
            }
            timed_turns = run_worker_turns(workers, turns, steps_per_turn)
        clips = steps_per_turn * PRESETS[preset].train.global_batch_size
        record[preset] = summarise(timed_turns, clips)
        print_summary(f"{preset}, clips/s", record[preset])
    print(f"wrote {write_record('training_trees', record)}")


if __name__ == "__main__":
    benchmark(run)
