"""When have two runs ended the same? Bit for bit, or but for the order of their sums."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from t2vgan.utils.files import sha256_of

NETWORKS = ("generator", "discriminator", "generator_ema")
KINDS = ("train", "samples", "evaluation")  # events and saves are of processes, not of training

# What a record says about time and machine, not about training.
CLOCKS = (
    *("seconds", "wall_time", "clips_per_second", "safety_seconds", "waiting_seconds", "memory_gb"),
    *("rank_skew", "slowest_rank", "untracked_records"),
)


def records(run_dir: Path, kind: str) -> list[dict[str, Any]]:
    """Return the records of one kind in a run's metrics.jsonl."""
    lines = (run_dir / "metrics.jsonl").read_text().splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def outcome(run_dir: Path) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Return all that must be the same, bit for bit, however often a run was killed.

    Checksums of the newest checkpoint's tensors, of the weights and the samples; and the records.
    """
    files = [*newest_checkpoint(run_dir).glob("*.safetensors"), *run_dir.glob("*.safetensors")]
    files += run_dir.glob("samples/*")
    sums = {path.relative_to(run_dir).as_posix(): sha256_of(path) for path in files}
    metrics = [record for kind in KINDS for record in records(run_dir, kind)]
    return sums, [{k: v for k, v in record.items() if k not in CLOCKS} for record in metrics]


def newest_checkpoint(run_dir: Path) -> Path:
    return max((run_dir / "checkpoints").glob("step_*"))


def load_networks(folder: Path) -> dict[str, dict[str, np.ndarray]]:
    return {name: load_file(folder / f"{name}.safetensors") for name in NETWORKS}


def distance(a: dict[str, dict], b: dict[str, dict]) -> float:
    """Return the largest distance of a network's weights over their own length.

    In float32 the order of a sum shows in the last bits, and Adam turns a gradient of almost
    nothing into a whole step either way: single weights may differ, networks may not.
    """

    def squares(tensors: Iterable[np.ndarray]) -> float:
        return sum(float(np.square(tensor, dtype=np.float64).sum()) for tensor in tensors)

    return max(
        math.sqrt(
            squares(a[name][key] - b[name][key] for key in a[name]) / squares(a[name].values())
        )
        for name in NETWORKS
    )
