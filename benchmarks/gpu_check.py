"""Run everything that needs a GPU: `make gpu-check`.

Runs the tests marked `gpu`, every benchmark and real training runs of the quickstart on the GPU
that is here. Each is a process of its own and writes its own dated record, so that a failure
costs the others nothing.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from benchmarks.measure import ROOT, benchmark
from t2vgan.errors import UserError

# Benchmark -> its options in a rehearsal.
BENCHMARKS = {
    "build_throughput": "--num-clips 64 --turns 1 --workers 1",
    "loader_throughput": "--num-clips 640 --turns 1",
    "generate_throughput": "--num-clips 9 --turns 1 --cold-starts 1",
    "training_throughput": "--turns 1 --steps-per-turn 2",
}
REHEARSED_TRAINING = "--train.num-steps 4 --evaluate-num-clips 19 --train.global-batch-size 8"


def run(folder: Path = Path("runs/gpu-check"), rehearse: bool = False) -> int:
    """Run every command to its end; return 1 if any failed.

    Args:
        folder: Where the training runs and their data go.
        rehearse: Run each with the least work, on a CPU if there is no GPU, and leave no record:
            this shows that the commands run, and nothing else.
    """
    import torch

    if torch.cuda.is_available():
        print(f"checking on {torch.cuda.get_device_name()}", flush=True)
    elif rehearse:
        print("rehearsing on a CPU: this checks nothing of a GPU", flush=True)
    else:
        raise UserError("make gpu-check needs a CUDA device; torch sees none (--rehearse does not)")
    with tempfile.TemporaryDirectory() as scratch:
        results = {"BENCHMARK_RESULTS": scratch} if rehearse else {}
        failed = run_all(commands(folder, rehearse), results | os.environ)
    print(f"failed: {', '.join(failed)}" if failed else "all of it ran", flush=True)
    return 1 if failed else 0


def commands(folder: Path, rehearse: bool) -> dict[str, list[str]]:
    """Return what to run, by name, in order."""
    data, runs = folder / "circles", folder / "runs"
    build = ["-m", "data_tools.build_shards", "circles", "--out", str(data)]
    train = ["-m", "benchmarks.quickstart", "--data", str(data), "--out", str(runs)]
    shapes = ["-m", "data_tools.build_shards", "shapes", "--out", str(folder / "shapes")]
    shapes += ["--num-frames", "16"]
    train_shapes = ["-m", "benchmarks.shapes", "--data", str(folder / "shapes")]
    train_shapes += ["--out", str(folder / "shapes-run")]
    if rehearse:
        few = ["--num-clips", "800", "--clips-per-shard", "100"]
        build, shapes = build + few, shapes + few
        train += ["--seeds", "0", f"--options={REHEARSED_TRAINING}"]
        train_shapes += ["--num-clips", "100", f"--options={REHEARSED_TRAINING}"]
    else:
        shapes += ["--num-clips", "50000"]
    return {
        "tests": ["-m", "pytest", "-m", "gpu", "-ra"],
        **{
            name: ["-m", f"benchmarks.{name}", *(options.split() if rehearse else ())]
            for name, options in BENCHMARKS.items()
        },
        "data": build,
        "quickstart": train,
        "shapes data": shapes,
        "shapes": train_shapes,
    }


def run_all(commands: Mapping[str, list[str]], environment: Mapping[str, str]) -> list[str]:
    """Run every command to its end; return the names that failed."""
    failed = []
    for name, command in commands.items():
        print(f"\n{name}: python {' '.join(command)}", flush=True)
        process = subprocess.run([sys.executable, *command], cwd=ROOT, env=environment, check=False)
        if process.returncode:
            failed.append(name)
    return failed


if __name__ == "__main__":
    benchmark(run)
