"""Weights: one safetensors file that knows its model, its vocabulary and its own checksum.

This is what generate.py opens, and it may come from anywhere: nothing in it is ever executed, and
whatever is wrong with it becomes a one-line `UserError`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt, ValidationError
from torch import Tensor

import t2vgan
from t2vgan.checkpoint.tensor_files import digest, read_metadata, read_tensors, write_described
from t2vgan.config import ModelConfig
from t2vgan.errors import UserError
from t2vgan.utils.frozen import Frozen, format_faults

FORMAT = "t2vgan-weights"
FORMAT_VERSION = "1"
WEIGHTS_NAMES = ("weights_best.safetensors", "weights.safetensors")  # in order of preference


class WeightsInfo(Frozen):
    """Everything besides the tensors that sampling needs, and where the weights come from."""

    model: ModelConfig
    """The network's own options: enough to build it again."""
    num_frames: PositiveInt
    """Frames of the clips it was trained on."""
    height: PositiveInt
    width: PositiveInt
    fps: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    words: tuple[str, ...]
    """The vocabulary, in the order of its ids."""
    prompts: tuple[str, ...]
    """The prompts it was trained on."""
    held_out_prompts: tuple[str, ...]
    """Prompts of known words that training never saw."""
    step: NonNegativeInt
    clips_seen: NonNegativeInt
    t2vgan_version: str


def save_weights(path: Path | str, tensors: Mapping[str, Tensor], info: WeightsInfo) -> None:
    """Write one self-describing weights file, atomically.

    Raises OSError when the disk refuses; whatever `path` held before is then untouched.
    """
    write_described(path, tensors, info, format=FORMAT, format_version=FORMAT_VERSION)


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
            f"weights {file}: bad description: {format_faults(error)}; use the t2vgan that wrote it"
        ) from None


# --- safetensors files in general: its errors in our words -------------------------------------
