"""Verify, list or show checkpoints: `python -m t2vgan.checkpoint WHAT RUN_DIR`."""

import json
import sys
from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal

from tqdm import tqdm
from tyro.conf import Positional

from t2vgan.checkpoint.storage import (
    DamagedError,
    checkpoints_folder,
    list_folders,
    list_steps,
    read_manifest,
    read_state,
    step_folder,
    verify,
)
from t2vgan.errors import UserError
from t2vgan.utils import cli
from t2vgan.utils.console import escape_control_chars, print_stdout


def checkpoint(
    what: Positional[Literal["verify", "list", "show"]],
    run_dir: Positional[Path],
    *,
    step: int | None = None,
) -> int:
    """Verify, list or show a run's checkpoints; nothing is changed.

    verify compares every byte of every checkpoint with its checksums, and exits with 1 if one
    differs. list prints their steps, sizes and times, and which were set aside. show prints what
    one holds.

    Args:
        what: verify, list or show
        run_dir: the folder of a training run
        step: which checkpoint to show; the newest unless named
    """
    steps = list_steps(run_dir)
    if not steps:
        raise UserError(f"run_dir={run_dir} holds no checkpoint; give the folder of a training run")
    if step is not None and step not in steps:
        available = ", ".join(map(str, steps))
        raise UserError(f"step={step}: no such checkpoint in {run_dir}; available: {available}")
    if what == "verify":
        return verify_all(run_dir, steps)
    if what == "list":
        list_all(run_dir, steps)
    else:
        show(step_folder(run_dir, steps[-1] if step is None else step))
    return 0


def verify_all(run_dir: Path, steps: Sequence[int]) -> int:
    num_damaged = 0
    for step in tqdm(steps, "verifying", file=sys.stderr, leave=False):
        try:
            verify(step_folder(run_dir, step))
            print_stdout(f"step {step}: good")
        except DamagedError as damage:
            num_damaged += 1
            print_stdout(f"step {step}: damaged: {damage}")
    return 1 if num_damaged else 0


def list_all(run_dir: Path, steps: Sequence[int]) -> None:
    for step in steps:
        folder = step_folder(run_dir, step)
        files = [path.lstat() for path in [folder, *folder.iterdir()]]
        size = sum(status.st_size for status in files[1:]) / 1e6
        saved = datetime.fromtimestamp(max(status.st_mtime for status in files))
        print_stdout(f"step {step:<10} {size:10.1f} MB  {saved:%Y-%m-%d %H:%M:%S}")
    for _, path in list_folders(run_dir):
        if path not in map(partial(step_folder, run_dir), steps):
            print_stdout(f"not a checkpoint: {escape_control_chars(path.name)}")
    for path in sorted(checkpoints_folder(run_dir).glob("*-step_*")):
        print_stdout(f"set aside: {escape_control_chars(path.name)}")


def show(folder: Path) -> None:
    try:
        manifest = read_manifest(folder)
        state = read_state(folder)
    except (DamagedError, FileNotFoundError) as damage:
        remedy = "see the others with `t2vgan checkpoint list`"
        raise UserError(f"{folder} is damaged: {damage}; {remedy}") from None
    print_stdout(f"{folder}, format {manifest.format_version}")
    for name, entry in manifest.files.items():
        print_stdout(f"  {entry.num_bytes / 1e6:10.2f} MB  {entry.sha256[:12]}  {name}")
    print_stdout(json.dumps(state, indent=2))


def main() -> int:
    return cli.call(checkpoint)


if __name__ == "__main__":
    cli.run(main)
