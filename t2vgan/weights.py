"""Weights: one safetensors file that knows its model, its vocabulary and its own checksum.

This is what generate.py opens, and it may come from anywhere: nothing in it is ever executed, and
whatever is wrong with it becomes a one-line `UserError`.
"""

import errno
import hashlib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import torch
from pydantic import Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

import t2vgan
from t2vgan.config import Frozen, ModelConfig, NonNegative, Positive, one_line
from t2vgan.errors import UserError
from t2vgan.files import atomic_path

FORMAT = "t2vgan-weights"
FORMAT_VERSION = "1"
WEIGHTS_NAMES = ("weights_best.safetensors", "weights.safetensors")  # in order of preference


class WeightsInfo(Frozen):
    """Everything besides the tensors that sampling needs, and where the weights come from."""

    model: ModelConfig
    """The network's own options: enough to build it again."""
    num_frames: Positive
    """Frames of the clips it was trained on."""
    height: Positive
    width: Positive
    fps: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    words: tuple[str, ...]
    """The vocabulary, in the order of its ids."""
    prompts: tuple[str, ...]
    """The prompts it was trained on."""
    held_out_prompts: tuple[str, ...]
    """Prompts of known words that training never saw."""
    step: NonNegative
    clips_seen: NonNegative
    t2vgan_version: str


def save_weights(path: Path | str, tensors: Mapping[str, Tensor], info: WeightsInfo) -> None:
    """Write one self-describing weights file, atomically.

    Raises OSError when the disk refuses; whatever `path` held before is then untouched.
    """
    write_described(path, tensors, info, format=FORMAT, format_version=FORMAT_VERSION)


def write_described(
    path: Path | str,
    tensors: Mapping[str, Tensor],
    info: Frozen,
    *,
    format: str,
    format_version: str,
) -> None:
    """Write tensors and what describes them into one file with a checksum of both, atomically."""
    tensors, info_json = to_host(tensors), info.model_dump_json()
    metadata = {
        "format": format,
        "format_version": format_version,
        "info": info_json,
        "sha256": digest(tensors, info_json),
    }
    with atomic_path(path) as temporary:
        write_tensors(temporary, tensors, metadata)


def load_weights(path: Path | str) -> tuple[dict[str, Tensor], WeightsInfo]:
    """Read weights onto the CPU from a file, or the best ones from a run folder.

    Raises UserError for weights that are missing, damaged, not ours or of another version.
    """
    file = find_weights(path)
    metadata = read_metadata(file)
    info = parse_info(file, metadata)
    tensors = {name: tensor.clone() for name, tensor in read_tensors(file).items()}
    if digest(tensors, metadata["info"]) != metadata.get("sha256"):
        raise UserError(f"weights {file}: damaged (its checksum differs); copy or train it again")
    return tensors, info


def load_weights_info(path: Path | str) -> WeightsInfo:
    """Read only the description of a weights file or run folder: no tensor is touched.

    Raises UserError as `load_weights`, except for damage that lies in the tensors.
    """
    file = find_weights(path)
    return parse_info(file, read_metadata(file))


def find_weights(path: Path | str) -> Path:
    """Return the weights file that `path` stands for: a file, a run folder, or a shipped name."""
    path = Path(path)
    if not path.exists() and (shipped := shipped_weights().get(str(path))):
        return shipped
    candidates = [path / name for name in WEIGHTS_NAMES] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if path.is_dir():
        raise UserError(
            f"weights={path}: the folder holds neither {' nor '.join(WEIGHTS_NAMES)}; "
            "name a run folder that has saved, or a .safetensors file"
        )
    raise UserError(
        f"weights={path}: no such file; name a run folder, a .safetensors file, or shipped weights:"
        f" {', '.join(shipped_weights())}"
    )


def shipped_weights() -> dict[str, Path]:
    """Return the weights that come with the package, by name."""
    folder = Path(t2vgan.__file__).parent / "pretrained"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def parse_info(file: Path, metadata: dict[str, str]) -> WeightsInfo:
    """Return the description that a file's metadata holds, or say why it is not one of ours."""
    if metadata.get("format") != FORMAT:
        raise UserError(f"weights {file}: not written by t2vgan; give weights that train.py saved")
    version = metadata.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(
            f"weights {file}: format version {version!r}, but this t2vgan reads "
            f"{FORMAT_VERSION!r}; use the t2vgan that wrote it"
        )
    try:
        return WeightsInfo.model_validate_json(metadata.get("info", ""))
    except ValidationError as error:
        raise UserError(
            f"weights {file}: bad description: {one_line(error)}; use the t2vgan that wrote it"
        ) from None


def digest(tensors: Mapping[str, Tensor], info_json: str) -> str:
    """Return the SHA-256 of contiguous CPU tensors with their names, and of the description."""
    checksum = hashlib.sha256(info_json.encode())
    for name, tensor in sorted(tensors.items()):
        checksum.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        checksum.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return checksum.hexdigest()


# --- safetensors files in general: its errors in our words -------------------------------------


def to_host(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copy tensors to contiguous CPU memory of their own, so that training may go on."""
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None
) -> None:
    """Write contiguous CPU tensors; a disk's refusal is an OSError with its errno."""
    try:
        save_file(dict(tensors), path, metadata=metadata)
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        number = int(code.group(1)) if code else errno.EIO
        reason = os.strerror(number) if code else str(error)
        raise OSError(number, reason, str(path)) from None
    if metadata:
        sort_metadata(path)


def sort_metadata(path: Path) -> None:
    """Put a header's text fields in order, so that equal weights are equal files.

    safetensors writes them in the order of a hash table with a random seed.
    """
    with open(path, "r+b") as file:
        header_size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        assert len(text) <= header_size, "the same fields take the same space"
        file.seek(8)
        file.write(text.ljust(header_size))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read every tensor of a file as a view of the mapped file: copy what must outlive it."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise not_readable(path, error) from None


def read_metadata(path: Path) -> dict[str, str]:
    """Read the text fields of a file's header, and nothing else."""
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise not_readable(path, error) from None


def not_readable(path: Path, error: SafetensorError) -> UserError:
    reason = str(error).removeprefix("Error while deserializing header: ")
    return UserError(f"{path}: not a readable safetensors file ({reason})")
