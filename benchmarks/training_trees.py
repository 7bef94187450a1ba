"""Compare training steps of this version with those of an earlier one.

`python -m benchmarks.training_trees TREE` measures clips/s of the quickstart and of shapes-cpu with
the code of another checkout and of this one. Each has a process, which waits while the other has
its turn.
"""

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.clips import SCENES, write_clips
from benchmarks.measure import ROOT, Turn, benchmark, print_summary, run_turns, summarise
from benchmarks.record import write_record
from t2vgan.config.presets import PRESETS

COMPARED = ("quickstart", "shapes-cpu")


class Worker:
    """A process that trains a preset's steps with a tree's code."""

    def __init__(self, tree: Path, preset: str, data: Path, threads: int) -> None:
        command = [sys.executable, ROOT / "benchmarks/training_worker.py", preset, data, threads]
        self.process = subprocess.Popen(
            list(map(str, command)),
            cwd=tree,
            env={**os.environ, "PYTHONPATH": str(tree)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.read_line()

    def read_line(self) -> str:
        """Wait for the process's next line."""
        assert self.process.stdout
        return self.process.stdout.readline()

    def turn(self, num_steps: int) -> Turn:
        """Train steps, and return their cost."""
        assert self.process.stdin
        print(num_steps, file=self.process.stdin, flush=True)
        return Turn(**json.loads(self.read_line()))


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
            workers = [Worker(tree, preset, Path(name), threads) for tree in trees.values()]
            ways = {
                way: partial(worker.turn, steps_per_turn)
                for way, worker in zip(trees, workers, strict=True)
            }
            timed_turns = run_turns(ways, turns, measure=lambda turn: turn())
            for worker in workers:
                worker.process.communicate()
        clips = steps_per_turn * PRESETS[preset].train.global_batch_size
        record[preset] = summarise(timed_turns, clips)
        print_summary(f"{preset}, clips/s", record[preset])
    print(f"wrote {write_record('training_trees', record)}")


if __name__ == "__main__":
    benchmark(run)
