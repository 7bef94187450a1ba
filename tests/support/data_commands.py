"""The data commands, run as a user runs them."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from data_tools.build.scene_build import BuildPlan
from t2vgan.data.shards import Geometry
from tests.support.commands import ROOT
from tests.support.warm import run_warm

SMALL = ["--num-clips", "50", "--clips-per-shard", "20", "--num-frames", "4", "--size", "24x32"]
PLAN = BuildPlan("circles", 50, 20, Geometry(num_frames=4, height=24, width=32), seed=0)
LARGE_PLAN = BuildPlan("circles", 1500, 100, Geometry(num_frames=10, height=64, width=64), seed=0)
LARGE = ["--num-clips", "1500", "--clips-per-shard", "100"]  # seconds: a busy machine must catch it


def command(tool: str, *arguments: object) -> list[str]:
    return [sys.executable, "-m", f"data_tools.{tool}", *map(str, arguments)]


def run(tool: str, *arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `command` returns one to be killed."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT)}
    return run_warm("-m", f"data_tools.{tool}", *arguments, cwd=cwd, variables=variables)


def files_in(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
