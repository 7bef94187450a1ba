"""Runs of two small networks that are saved as checkpoints."""

import hashlib
import json
from pathlib import Path

import torch
from torch import nn

from t2vgan.checkpoint import storage
from t2vgan.checkpoint.state_dict import (
    create_snapshot,
    find_latest_step,
    load_checkpoint,
    save_checkpoint,
)

STATE = {"step": 10, "clips_seen": 160, "seconds": 0.1 + 0.2, "best": None, "scaler": [65536.0]}


class Run:
    """Two small networks that train, as a trainer would save them."""

    def __init__(self, seed: int = 0, width: int = 4, **adam):
        torch.manual_seed(seed)
        self.modules = {
            "generator": nn.Sequential(nn.Conv3d(3, width, 3), nn.BatchNorm3d(width)),
            "discriminator": nn.Linear(width, 1, bias=False),
            "generator_ema": nn.Linear(2, 2).requires_grad_(False),
        }
        self.modules["generator"].to(memory_format=torch.channels_last_3d)
        self.optimizers = {
            name: torch.optim.Adam(self.modules[name].parameters(), lr=0.01, **adam)
            for name in ("generator", "discriminator")
        }

    def train(self, steps: range) -> "Run":
        for step in steps:
            torch.manual_seed(step)
            video = torch.randn(2, 3, 3, 4, 5)
            features = self.modules["generator"](video).mean([2, 3, 4])
            (self.modules["discriminator"](features).square().mean() + features.sum()).backward()
            for optimizer in self.optimizers.values():
                optimizer.step()
                optimizer.zero_grad()
        return self

    def save(self, run_dir: Path, step: int, **options) -> Path:
        state = STATE | {"step": step}
        snapshot = create_snapshot(self.modules, self.optimizers)
        return save_checkpoint(run_dir, step, snapshot, state, **options)

    def load(self, run_dir: Path):
        step = find_latest_step(run_dir)
        if step is None:
            return None
        return load_checkpoint(run_dir, step, self.modules, self.optimizers)

    def tensors(self) -> dict[str, torch.Tensor]:
        """Everything that must survive, by a name of its own."""
        found = {}
        for name, module in self.modules.items():
            found |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
        for name, optimizer in self.optimizers.items():
            state = optimizer.state_dict()["state"]
            found |= {
                f"{name}/{i}/{k}": v for i, values in state.items() for k, v in values.items()
            }
        return {name: value.clone() for name, value in found.items()}


def assert_same(a: Run, b: Run) -> None:
    left, right = a.tensors(), b.tensors()
    assert left.keys() == right.keys()
    for name, value in left.items():
        assert value.dtype == right[name].dtype, name
        assert value.stride() == right[name].stride(), name
        assert torch.equal(value, right[name]), name


def steps(run_dir: Path) -> list[int]:
    return storage.list_steps(run_dir)


def names(run_dir: Path) -> set[str]:
    return {path.name for path in (run_dir / "checkpoints").iterdir()}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


FILES = (
    "MANIFEST.json", "state.json", "generator.safetensors", "discriminator.safetensors",
    "generator_ema.safetensors", "generator_optimizer.safetensors",
    "discriminator_optimizer.safetensors",
)  # fmt: skip


def flip_last_bit(path: Path) -> None:
    flip(path, path.stat().st_size - 1, 0)


def flip(path: Path, position: int, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[position] ^= 1 << bit
    path.write_bytes(data)


def seal(folder: Path, name: str, content: bytes) -> None:
    """Replace a file of a checkpoint, and its entry in the manifest."""
    (folder / name).write_bytes(content)
    forge(folder, name, len(content), hashlib.sha256(content).hexdigest())


def forge(folder: Path, name: str, num_bytes: int = 0, sha256: str = "", **changes) -> None:
    """Change the manifest of a checkpoint, with the checksum that belongs to it."""
    fields = json.loads((folder / "MANIFEST.json").read_text())
    fields["files"][name] = {"num_bytes": num_bytes, "sha256": sha256}
    write_sealed(folder, fields | changes)


def write_sealed(folder: Path, fields: dict) -> None:
    fields["sha256"] = storage.compute_checksum(fields)
    (folder / "MANIFEST.json").write_text(json.dumps(fields))
