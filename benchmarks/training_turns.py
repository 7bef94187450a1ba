"""Compare ways of training, each in its own process."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from benchmarks.measure import ROOT, Turn, Turns, import_path, run_turns


class Worker:
    """A process of benchmarks/training_worker.py."""

    def __init__(self, way: str, data: Path, threads: int, *, tree: Path = ROOT) -> None:
        """Start training a preset, or the notebook's loop, with a tree's code."""
        command = [sys.executable, ROOT / "benchmarks/training_worker.py", way, data, threads]
        self.process = subprocess.Popen(
            list(map(str, command)),
            cwd=tree,
            env={**os.environ, "PYTHONPATH": import_path(tree)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.precision: str = json.loads(self.read_line())["precision"]

    def read_line(self) -> str:
        """Wait for the process's next line.

        Raises:
            CalledProcessError: the process has ended.
        """
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise subprocess.CalledProcessError(self.process.wait(), self.process.args)
        return line

    def turn(self, num_steps: int) -> Turn:
        """Train steps, and return their cost."""
        assert self.process.stdin
        print(num_steps, file=self.process.stdin, flush=True)
        return Turn(**json.loads(self.read_line()))


def run_worker_turns(workers: Mapping[str, Worker], turns: int, num_steps: int) -> Turns:
    """Train steps with each worker once per turn; then end all."""
    ways = {name: partial(worker.turn, num_steps) for name, worker in workers.items()}
    timed_turns = run_turns(ways, turns, measure=lambda turn: turn())
    for worker in workers.values():
        worker.process.communicate()
    return timed_turns
