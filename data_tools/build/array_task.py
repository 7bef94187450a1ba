"""Determine which task of a cluster's job array this process is."""

import os

from t2vgan.errors import UserError
from t2vgan.utils.console import print_stdout

from .protocol import Task

ARRAYS = (
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETION_COUNT"),
)
NAME_THE_TASK = "give --task-index and --task-count (0 and 1: all shards)"


def read_task(index: int | None, count: int | None) -> Task:
    """Return the task from the options, or else from the cluster's variables."""
    if index is None and count is None:
        if (task := _read_array_task()) is None:
            return Task()
        index, count = task
        print_stdout(
            f"task {index} of {count} of this job array makes its share of the shards; if the"
            " array has another purpose, use --task-index 0 --task-count 1 to make all of them"
        )
    if index is None or count is None:
        given, missing = ("index", "count") if count is None else ("count", "index")
        raise UserError(f"--task-{given} needs --task-{missing}")
    if count < 1:
        raise UserError(f"--task-count {count}: must be at least 1")
    if not 0 <= index < count:
        raise UserError(
            f"--task-index {index}: must be between 0 and --task-count - 1 = {count - 1}"
        )
    return Task(index, count)


def _read_array_task() -> tuple[int, int] | None:
    """Return this task's index, from 0, and its array's task count.

    Slurm arrays may start at any number and count in steps.
    """
    for task, size in ARRAYS:
        number, count = _read_number(task), _read_number(size)
        if number is None and count is None:
            continue
        if number is None or count is None:
            given, missing = (task, size) if count is None else (size, task)
            raise UserError(f"{given} is set without {missing}; {NAME_THE_TASK}")
        first = _read_number("SLURM_ARRAY_TASK_MIN") or 0 if task.startswith("SLURM") else 0
        step = _read_number("SLURM_ARRAY_TASK_STEP") or 1 if task.startswith("SLURM") else 1
        index, rest = divmod(number - first, step)
        if rest or not 0 <= index < count:
            raise UserError(
                f"{task}={number}: the array has {count} tasks from {first} in steps of {step}, so"
                f" its indices have gaps; use --array=0-{count - 1}, or {NAME_THE_TASK}"
            )
        return index, count
    return None


def _read_number(variable: str) -> int | None:
    text = os.environ.get(variable)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        raise UserError(f"{variable}={text}: must be a whole number") from None
