"""`python -m t2vgan.checkpoint verify|list|show RUN_DIR`: what a run has saved."""

import json
import sys
from datetime import datetime
from pathlib import Path

import tyro
from tqdm import tqdm
from tyro.conf import Positional

from t2vgan import cli
from t2vgan.checkpoint.folder import (
    DamagedError,
    checkpoints_folder,
    list_steps,
    read_manifest,
    read_state,
    step_folder,
    verify,
)
from t2vgan.errors import UserError


def verify_all(run_dir: Positional[Path]) -> int:
    """Compare every byte of every checkpoint with its checksums; exit code 1 if one differs.

    Nothing is moved: the next run sets a damaged one aside by itself.

    Args:
        run_dir: the folder of a training run
    """
    num_damaged = 0
    for step in tqdm(steps_of(run_dir), "verifying", file=sys.stderr, leave=False):
        try:
            verify(step_folder(run_dir, step))
            print(f"step {step}: good")
        except DamagedError as damage:
            num_damaged += 1
            print(f"step {step}: damaged: {damage}")
    return 1 if num_damaged else 0


def list_all(run_dir: Positional[Path]) -> None:
    """List the checkpoints, oldest first: step, size, time; then those set aside as damaged.

    Args:
        run_dir: the folder of a training run
    """
    for step in steps_of(run_dir):
        folder = step_folder(run_dir, step)
        files = list(folder.iterdir())
        size = sum(path.stat().st_size for path in files) / 1e6
        saved = datetime.fromtimestamp(max(path.stat().st_mtime for path in files))
        print(f"step {step:<10} {size:10.1f} MB  {saved:%Y-%m-%d %H:%M:%S}")
    for path in sorted(checkpoints_folder(run_dir).glob("damaged-*")):
        print(f"set aside: {path.name}")


def show(run_dir: Positional[Path], step: int | None = None) -> None:
    """Show what a checkpoint holds: its files and its counters.

    Args:
        run_dir: the folder of a training run
        step: which checkpoint; the newest unless named
    """
    steps = steps_of(run_dir)
    if step is not None and step not in steps:
        raise UserError(f"step={step} has no checkpoint in {run_dir}; there are {steps}")
    folder = step_folder(run_dir, steps[-1] if step is None else step)
    try:
        manifest = read_manifest(folder)
        state = read_state(folder)
    except (DamagedError, FileNotFoundError, ValueError) as damage:
        raise UserError(f"{folder}: damaged: {damage}; list the others with `list`") from None
    print(f"{folder}, format {manifest.format_version}")
    for name, entry in manifest.files.items():
        print(f"  {entry.num_bytes / 1e6:10.2f} MB  {entry.sha256[:12]}  {name}")
    print(json.dumps(state, indent=2))


def steps_of(run_dir: Path) -> list[int]:
    """Return a run's checkpoints; a run without any is a mistake worth naming."""
    steps = list_steps(run_dir)
    if not steps:
        raise UserError(f"run_dir={run_dir} holds no checkpoint; name the folder of a training run")
    return steps


def main() -> int | None:
    commands = {"verify": verify_all, "list": list_all, "show": show}
    return tyro.extras.subcommand_cli_from_dict(commands, prog="python -m t2vgan.checkpoint")


if __name__ == "__main__":
    cli.run(main)
