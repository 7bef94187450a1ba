"""Describe the command, hardware and versions of a run."""

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import t2vgan
from t2vgan.utils.urls import redact

LAUNCHERS = {  # variable set -> launcher; accelerate also sets the variable of torchrun
    "ACCELERATE_MIXED_PRECISION": "accelerate launch",
    "TORCHELASTIC_RUN_ID": "torchrun",
}


def describe_environment(*, device: str, world_size: int, precision: str) -> dict[str, Any]:
    """Return what is needed to understand or reproduce a run."""
    from importlib.metadata import version

    return {
        "command": command_line(),
        "device": device,
        "cpu_cores": len(os.sched_getaffinity(0)),
        "world_size": world_size,
        "precision": precision,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: version(name) for name in ("torch", "accelerate", "numpy")},
        "t2vgan": t2vgan.__version__,
        "git_commit": git_commit(),
    }


def command_line() -> str:
    """Return the command; launchers are named without their options.

    Passwords in URLs are hidden.
    """
    names = [name for variable, name in LAUNCHERS.items() if variable in os.environ]
    arguments = [redact(argument) for argument in sys.orig_argv]
    if not names:
        return shlex.join(arguments)
    given = [argument for argument in arguments[1:] if argument != "-u"]  # the launcher adds -u
    return f"{names[0]} {shlex.join(given)}"


def git_commit() -> str | None:
    """Return the checkout's commit, with "+" if tracked files differ from it.

    Return None for an installed package, even if its folder is inside another repository.
    """
    file = Path(__file__).resolve()

    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", "-C", str(file.parent), *arguments], capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.name)
        commit = git("rev-parse", "HEAD")
        return commit + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
