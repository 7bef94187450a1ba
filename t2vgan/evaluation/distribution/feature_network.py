"""The classifier whose last layer gives the features for distances.

Its input is eight frames of 32x32 pixels, whatever the clip's own size. `features.py` trains it.
"""

from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from einops import rearrange
from pydantic import Field, ValidationError
from torch import Tensor, nn

import t2vgan
from t2vgan.checkpoint.tensor_files import (
    compute_digest,
    read_metadata,
    read_tensors,
    write_with_info,
)
from t2vgan.errors import UserError
from t2vgan.evaluation.distribution.near_copies import even_frame_indices
from t2vgan.pipeline import check_tensors
from t2vgan.utils.frozen import Frozen, format_faults
from t2vgan.video import to_video

SHIPPED = Path(t2vgan.__file__).parent / "evaluation" / "features-shapes.safetensors"
FORMAT, FORMAT_VERSION = "t2vgan-features", "1"
NUM_FRAMES, SIDE = 8, 32
NUM_FEATURES = 64
BATCH_SIZE = 32  # of every pass, filled up: features must not depend on the other clips

Share = Annotated[float, Field(ge=0, le=1)]


class FeaturesInfo(Frozen):
    """How the network of a file was trained."""

    dataset_fingerprints: tuple[str, ...]
    num_clips: int
    """Clips it was trained on."""
    num_epochs: int
    seed: int
    accuracy: dict[str, Share]
    """Of each attribute, on clips that training did not see."""
    t2vgan_version: str = t2vgan.__version__


class FeatureNetwork(nn.Module):
    """Map video (B, 3, 8, 32, 32) to features (B, 64).

    A small 2D CNN on each frame, then 1D convolutions over time. `mean` and `std` are those of
    training clips: features leave with mean 0 and variance 1.
    """

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 24, 32, 48)
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(4, after)]
            layers += [nn.ReLU()]
        self.frame = nn.Sequential(*layers, nn.Flatten(), nn.Linear(48 * 2 * 2, 96), nn.ReLU())
        self.time = nn.Sequential(
            nn.Conv1d(96, 96, 3, padding=1), nn.ReLU(), nn.Conv1d(96, 48, 3, padding=1), nn.ReLU()
        )
        self.clip = nn.Sequential(nn.Flatten(), nn.Linear(48 * NUM_FRAMES, NUM_FEATURES), nn.ReLU())
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(NUM_FEATURES))
        self.register_buffer("std", torch.ones(NUM_FEATURES))

    def forward(self, video: Tensor) -> Tensor:
        if video.shape[1:] != (3, NUM_FRAMES, SIDE, SIDE):
            raise ValueError(f"video must be (B, 3, 8, 32, 32), not {tuple(video.shape)}")
        frames = self.frame(rearrange(video, "b c t h w -> (b t) c h w"))
        clips = self.clip(self.time(rearrange(frames, "(b t) c -> b c t", t=NUM_FRAMES)))
        return (clips - self.mean) / self.std


def resize_clips(frames: np.ndarray) -> np.ndarray:
    """Resize clips to the network's input.

    Frames (N, T, H, W, 3) uint8 become (N, 8, 32, 32, 3) uint8: eight frames evenly from the first
    to the last (repeated where there are fewer), each stretched to a square: averaged where it is
    larger, interpolated linearly where it is smaller.
    """
    import cv2

    times = even_frame_indices(frames.shape[1], NUM_FRAMES)
    shrinks = min(frames.shape[2:4]) >= SIDE
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    pictures = frames[:, times].reshape(-1, *frames.shape[2:])
    resized = [cv2.resize(picture, (SIDE, SIDE), interpolation=method) for picture in pictures]
    return np.stack(resized).reshape(len(frames), NUM_FRAMES, SIDE, SIDE, 3)


@torch.no_grad()
def extract_features(network: FeatureNetwork, frames: np.ndarray) -> np.ndarray:
    """Compute features (N, 64) of frames (N, T, H, W, 3) uint8."""
    device = network.mean.device
    resized_clips = torch.from_numpy(resize_clips(frames))
    features = []
    for start in range(0, len(resized_clips), BATCH_SIZE):
        chunk = resized_clips[start : start + BATCH_SIZE]
        filled = torch.cat([chunk, chunk[-1:].expand(BATCH_SIZE - len(chunk), -1, -1, -1, -1)])
        features.append(network(to_video(filled.to(device)))[: len(chunk)].cpu())
    return torch.cat(features).numpy()


def save_features(path: Path | str, network: FeatureNetwork, info: FeaturesInfo) -> None:
    """Save the network as one self-describing file, atomically."""
    tensors = network.state_dict()
    write_with_info(path, tensors, info, format=FORMAT, format_version=FORMAT_VERSION)


def load_features(
    path: Path | str, *, device: torch.device | str = "cpu"
) -> tuple[FeatureNetwork, FeaturesInfo]:
    """Load a network that `save_features` wrote.

    Raises:
        UserError: the file is missing, damaged or something else.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(
            f"features={path}: no such file; make one:"
            " python -m t2vgan.evaluation.distribution.features"
        )
    metadata = read_metadata(path)
    if (metadata.get("format"), metadata.get("format_version")) != (FORMAT, FORMAT_VERSION):
        raise UserError(f"features {path}: not written by this version's `features` command")
    tensors = {name: tensor.clone() for name, tensor in read_tensors(path).items()}
    if compute_digest(tensors, metadata.get("info", "")) != metadata.get("sha256"):
        raise UserError(f"features {path}: damaged (its checksum differs); copy or train it again")
    try:
        info = FeaturesInfo.model_validate_json(metadata["info"])
    except ValidationError as error:
        raise UserError(f"features {path}: bad description: {format_faults(error)}") from None
    network = FeatureNetwork()
    check_tensors(path, tensors, expected=network.state_dict())
    network.load_state_dict(tensors)
    return network.to(device).eval(), info
