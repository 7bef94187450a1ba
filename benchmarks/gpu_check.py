"""Everything that wants a GPU, in one go: `make gpu-check`.

Runs the tests marked `gpu`, the throughput benchmarks and a real training run of the quickstart on
the GPU that is here; each benchmark writes its dated record under benchmarks/results/.
"""

import subprocess
import sys
from pathlib import Path

from t2vgan import cli
from t2vgan.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
DATA = Path("data/circles")

COMMANDS = (
    ("-m", "pytest", "-m", "gpu", "-ra"),
    ("-m", "data_tools.build_shards", "circles", "--out", DATA),
    ("-m", "benchmarks.training_throughput"),
    ("-m", "benchmarks.quickstart", "--data", DATA, "--out", "runs/gpu-check"),
)


def main() -> int:
    """Run every command to its end; return 1 if any failed."""
    import torch

    if not torch.cuda.is_available():
        raise UserError("make gpu-check needs a CUDA device; torch sees none")
    print(f"checking on {torch.cuda.get_device_name()}", flush=True)
    failed = []
    for command in COMMANDS:
        arguments = [sys.executable, *(str(part) for part in command)]
        print("$", *arguments[1:], flush=True)
        if subprocess.run(arguments, cwd=ROOT, check=False).returncode:
            failed.append(" ".join(arguments[1:]))
    for command in failed:
        print(f"failed: {command}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    cli.run(main)
