"""Whole commands in real processes, as users run them."""

import os
import random
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
PORTS = random.SystemRandom()  # tests and xdist seed the other generators


def environment(**extra: str) -> dict[str, str]:
    """Return an environment with one thread a process, and no launcher's variables."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("ACCELERATE_", "WANDB_", "PYTEST_", "SLURM_"))
        and name not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
    }
    return kept | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)} | extra


def run(*command: object, cwd: Path = ROOT, timeout: float = 300, **extra: str):
    """Run a command to its end and return it with its output as text."""
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment(**extra),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def run_ok(*command: object, **options) -> subprocess.CompletedProcess:
    """Run a command that must succeed."""
    result = run(*command, **options)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def python(*arguments: object, **options) -> subprocess.CompletedProcess:
    return run(sys.executable, *arguments, **options)


def python_ok(*arguments: object, **options) -> subprocess.CompletedProcess:
    return run_ok(sys.executable, *arguments, **options)


def start(*command: object, **extra: str) -> subprocess.Popen[str]:
    """Start a training command and return when it has trained six steps."""
    process = subprocess.Popen(
        [str(part) for part in command],
        cwd=ROOT,
        env=environment(**extra),
        stderr=subprocess.PIPE,
        text=True,
    )
    assert any(line.startswith("step 6/") for line in process.stderr), "it ended before step 6"
    return process


TINY_MODEL = (
    "--model.channels", 4, "--model.hidden-size", 16, "--model.text-size", 8,
    "--model.latent-size", 4, "--train.recovered-latents", 2,
    "--train.mode-seeking-weight", 0.1,
)  # fmt: skip


def train(data: Path, run_dir: Path, *options: object) -> tuple[object, ...]:
    """Return the arguments of a tiny training run, after the interpreter or the launcher."""
    return (
        "train.py", "quickstart", "--data.path", data, "--run-dir", run_dir, *TINY_MODEL,
        "--data.num-streams", 4, "--train.global-batch-size", 8, "--train.num-steps", 12,
        "--train.frames-per-clip", 3, "--train.penalty-every-steps", 2, "--log-every-steps", 2,
        "--sample-every-steps", 0, "--evaluate-every-steps", 0, "--save-every-steps", 4,
        "--num-cpu-threads", 1, *options,
    )  # fmt: skip


SAMPLED = (
    "--sample-every-steps", 3, "--evaluate-every-steps", 6, "--evaluate-num-clips", 38,
)  # fmt: skip


def faulty(fault: str | tuple[str, ...], data: Path, run_dir: Path, *options: object) -> tuple:
    """Return the arguments of a tiny training run with faults built in."""
    faults = (fault,) if isinstance(fault, str) else fault
    _, *arguments = train(data, run_dir, *options)
    return ("tests/faults/faulty_train.py", *faults, "--", *arguments)


def free_port() -> int:
    """Return a port for a launcher's ranks that no other test uses.

    Below the ports that the kernel gives to whoever asks for any: no connection takes it meanwhile.
    """
    while True:
        port = PORTS.randrange(10_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("", port))
            return port


def torchrun(world_size: int) -> tuple[object, ...]:
    return (BIN / "torchrun", "--nproc_per_node", world_size, "--master_port", free_port())


def accelerate(world_size: int) -> tuple[object, ...]:
    """`accelerate launch` that really starts several processes on a CPU (ACCELERATE_USE_CPU)."""
    return (
        BIN / "accelerate", "launch", "--multi_gpu", "--num_processes", world_size,
        "--num_machines", 1, "--mixed_precision", "no", "--dynamo_backend", "no",
        "--main_process_port", free_port(),
    )  # fmt: skip
