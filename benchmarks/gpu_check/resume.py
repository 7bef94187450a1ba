"""Kill a run, resume it, and compare it with an uninterrupted one."""

import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch

from benchmarks.measure import ROOT, benchmark
from benchmarks.record import write_record
from benchmarks.training_run import read_metrics
from tests.faults.same_run import outcome

POLL_SECONDS = 0.05


def run(
    data: Path, out: Path, preset: str = "shapes", num_steps: int = 300, options: str = ""
) -> int:
    """Compare a resumed run with an uninterrupted one; return 1 if different.

    The run is killed some steps after it has written a checkpoint. Both run at the same time.

    Args:
        data: Folder of shards.
        out: Folder for both runs; emptied first.
        preset: Preset of train.py.
        num_steps: Steps of each run, which saves after each third of them.
        options: Additional options of train.py.
    """
    shutil.rmtree(out, ignore_errors=True)
    every = num_steps // 3
    steps = (
        *("--train.num-steps", num_steps, "--save-every-steps", every, "--log-every-steps", 1),
        *("--sample-every-steps", num_steps, "--evaluate-every-steps", 0),
    )

    def start(run_dir: Path) -> subprocess.Popen[bytes]:
        files = ("--data.path", data, "--run-dir", run_dir)
        command = ["train.py", preset, *map(str, (*files, *steps)), *shlex.split(options)]
        return subprocess.Popen([sys.executable, *command], cwd=ROOT)

    straight, killed = start(out / "straight"), start(out / "killed")
    steps_done = 0
    while killed.poll() is None:
        time.sleep(POLL_SECONDS)
        records = read_metrics(out / "killed")
        if any(record["kind"] == "checkpoint" for record in records):
            steps_done = max(record["step"] for record in records)
            if steps_done > every:
                killed.kill()
    code = killed.wait()
    resumed = start(out / "killed")
    if straight.wait() or resumed.wait():
        return 1
    different = compare(out / "straight", out / "killed")
    headline = f"{len(different)} files or records differ" if different else "equal bits"
    device = "cuda" if torch.cuda.is_available() else "cpu"
    content = {
        "headline": f"{preset}, killed after step {steps_done} of {num_steps}: {headline}",
        "preset": preset,
        "num_steps": num_steps,
        "killed_after_step": steps_done,
        "was_killed": code < 0,
        "different": different,
    }
    print(content["headline"])
    print(f"wrote {write_record('resume', content, device=device)}")
    return int(bool(different) or code >= 0)


def compare(straight: Path, resumed: Path) -> list[str]:
    """Return the files and records in which two runs differ."""
    (files, records), (other_files, other_records) = outcome(straight), outcome(resumed)
    names = sorted(files.keys() | other_files.keys())
    different = [name for name in names if files.get(name) != other_files.get(name)]
    if len(records) != len(other_records):
        return [*different, f"{len(records)} and {len(other_records)} records"]
    pairs = zip(records, other_records, strict=True)
    return different + [f"record of step {a['step']}" for a, b in pairs if a != b]


if __name__ == "__main__":
    benchmark(run)
