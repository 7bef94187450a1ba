"""Save and load weights files: safetensors with model, vocabulary and checksum.

generate.py opens such files from any source: nothing in them is ever executed, and any fault of a
file becomes a one-line `UserError`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field, NonNegativeInt, PositiveInt
from torch import Tensor

import t2vgan
from t2vgan.checkpoint.tensor_files import (
    check_finite,
    compute_digest,
    read_metadata,
    read_tensors,
    write_with_info,
)
from t2vgan.config import ModelConfig
from t2vgan.errors import UserError
from t2vgan.tokenizer import VERSION
from t2vgan.utils.frozen import Frozen, naming_faults

FORMAT = "t2vgan-weights"
FORMAT_VERSION = "1"
MODEL_NAME = "model.safetensors"  # in a folder written by `TextToVideo.save_pretrained`
WEIGHTS_NAMES = ("weights_best.safetensors", "weights.safetensors", MODEL_NAME)  # preferred first


class TextEncoderInfo(Frozen):
    """The frozen sentence encoder whose word states are in the weights."""

    name: str
    """The name or folder given as `model.text_encoder`."""
    sha256: str


class WeightsInfo(Frozen):
    """Everything that sampling needs besides tensors, and the weights' origin."""

    model: ModelConfig
    """The network's options, from which it is rebuilt."""
    num_frames: PositiveInt
    """Number of frames of the training clips."""
    height: PositiveInt
    width: PositiveInt
    fps: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    words: tuple[str, ...]
    """The vocabulary, in order of token ids."""
    tokenizer: Annotated[int, Field(ge=1, le=VERSION)] = 1
    """Version of the rules that split prompts into words; missing in files of early versions."""
    prompts: tuple[str, ...]
    """The prompts of the training data."""
    held_out_prompts: tuple[str, ...]
    """Prompts of known words that were not used in training."""
    text_encoder: TextEncoderInfo | None = None
    """The sentence encoder; None if the model uses none."""
    step: NonNegativeInt
    clips_seen: NonNegativeInt
    t2vgan_version: str


def save_weights(path: Path | str, tensors: Mapping[str, Tensor], info: WeightsInfo) -> None:
    """Write one self-describing weights file atomically.

    Raises:
        OSError: writing failed; an existing file at `path` is untouched.
    """
    write_with_info(path, tensors, info, format=FORMAT, format_version=FORMAT_VERSION)


def load_weights(path: Path | str) -> tuple[dict[str, Tensor], WeightsInfo]:
    """Read weights onto the CPU; from a run folder, the best ones.

    Raises:
        UserError: the weights are missing, damaged, not from t2vgan, of another version, or hold
            NaN or infinity.
    """
    file = find_weights(path)
    metadata = read_metadata(file)
    info = parse_info(file, metadata)
    tensors = {name: tensor.clone() for name, tensor in read_tensors(file).items()}
    if compute_digest(tensors, metadata["info"]) != metadata.get("sha256"):
        raise UserError(f"weights {file}: damaged (its checksum differs); copy or train it again")
    check_finite(file, tensors, "use weights that were saved earlier")
    return tensors, info


def load_weights_info(path: Path | str) -> WeightsInfo:
    """Read the description of a weights file or run folder, without tensors.

    Raises:
        UserError: as `load_weights`, except for damaged tensors.
    """
    file = find_weights(path)
    return parse_info(file, read_metadata(file))


def find_weights(path: Path | str) -> Path:
    """Find the weights file of a path, run folder or shipped name.

    A local folder of the same name without weights does not hide the shipped ones.
    """
    path = Path(path)
    candidates = [path / name for name in WEIGHTS_NAMES] if path.is_dir() else [path]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    if shipped := list_shipped_weights().get(str(path)):
        return shipped
    if path.is_dir():
        raise UserError(
            f"weights={path}: the folder holds neither {' nor '.join(WEIGHTS_NAMES)}; "
            "give a run folder with saved weights, or a .safetensors file"
        )
    raise UserError(
        f"weights={path}: no such file; give a run folder, a .safetensors file, or shipped weights:"
        f" {', '.join(list_shipped_weights())}"
    )


def list_shipped_weights() -> dict[str, Path]:
    """List the weights that come with the package, by name."""
    folder = Path(t2vgan.__file__).parent / "pretrained"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def parse_info(file: Path, metadata: dict[str, str]) -> WeightsInfo:
    """Parse a file's metadata.

    Raises:
        UserError: the file is not from t2vgan, of another version, or invalid.
    """
    if metadata.get("format") != FORMAT:
        raise UserError(f"weights {file}: not written by t2vgan; give weights that train.py saved")
    version = metadata.get("format_version")
    if version != FORMAT_VERSION:
        raise UserError(
            f"weights {file}: format version {version!r}, but this t2vgan reads "
            f"{FORMAT_VERSION!r}; use the t2vgan that wrote it"
        )
    with naming_faults(f"weights {file}: bad description", "use the t2vgan that wrote it"):
        return WeightsInfo.model_validate_json(metadata.get("info", ""))
