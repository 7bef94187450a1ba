"""Augment real and generated clips, against overfitting to small data sets.

Differentiable augmentation is applied in both updates (DiffAugment, Zhao et al., NeurIPS 2020),
each kind to a share of the clips (ADA, Karras et al., NeurIPS 2020, section 2.2): with a share
below 1 it does not leak into the generated clips. All frames of a clip, and the real and the
generated clip of a pair, share one draw. There are no flips, rotations or hue changes, which would
make captions wrong, and shifts are at most an eighth of a frame.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from t2vgan.config import TrainConfig
from t2vgan.models.layers import to_float32
from t2vgan.utils.seeds import random_generator

FEW_CLIPS = 2_000
SHARE_OF_FEW = 0.5
"""With `train.augment auto`, the share for each kind in data sets of under `FEW_CLIPS` clips."""

MAX_SHIFT = 1 / 8  # of a frame
CUTOUT = 1 / 4  # of a frame's height and width
MAX_BRIGHTNESS = 0.5  # in std of the data
MAX_CONTRAST = 1.5  # largest factor; the smallest is its inverse


def choose_share(train: TrainConfig, num_clips: int) -> float:
    """Return the share of clips that each kind of augmentation changes."""
    if train.augment == "auto":
        return SHARE_OF_FEW if num_clips < FEW_CLIPS else 0.0
    return train.augment


def draw_augmentation(*, seed: int, step: int, num_clips: int, share: float) -> np.ndarray:
    """Draw each clip's augmentation.

    Returns (num_clips, 6) float32 with the columns of `Augmentation.__call__`, or (num_clips, 0)
    for a share of 0.
    """
    if not share:
        return np.zeros((num_clips, 0), np.float32)
    draws = random_generator(seed, "augmentation", step).random((num_clips, 9))
    is_shifted, is_cut, is_coloured = (draws[:, :3] < share).T[:, :, None]
    shift, place, colour = (draws[:, start : start + 2] for start in (3, 5, 7))
    columns = (
        np.where(is_shifted, MAX_SHIFT * (2 * shift - 1), 0.0),
        np.where(is_cut, place, np.inf),
        np.where(is_coloured, 2 * colour - 1, 0.0),
    )
    return np.concatenate(columns, axis=1).astype(np.float32)


@dataclass(frozen=True)
class Augmentation:
    """Apply drawn augmentations to video."""

    mean: Tensor
    """The colour of cut-out rectangles, (3, 1, 1, 1)."""
    std: Tensor
    """The unit of brightness changes, (3, 1, 1, 1)."""

    def __call__(self, video: Tensor, draws: Tensor) -> Tensor:
        """Augment each clip by its draw: shift, then colour, then cutout.

        video (B, C, T, H, W), draws (B, 6): shift down and right, in frames; centre of the cutout,
        in frames, infinite for none; brightness and contrast, from -1 to 1. The result is an affine
        function of the video, so derivatives of any order exist.
        """
        if not draws.shape[1]:
            return video
        with torch.autocast(video.device.type, enabled=False):
            video = to_float32(video)
            shift, place, colour = draws.to(video.dtype).split(2, dim=1)
            video = change_colour(shift_frames(video, shift), colour, self.std)
            mask = cut_out(place, *video.shape[3:])
            return self.mean + (video - self.mean) * mask


def shift_frames(video: Tensor, shift: Tensor) -> Tensor:
    """Shift clips by whole pixels, repeating the border.

    Shapes: video (B, C, T, H, W), shift (B, 2) in frames, down and right -> (B, C, T, H, W).
    Each axis is multiplied by a matrix of zeros and ones: exact, with a deterministic backward.
    """
    rows, columns = (
        _shift_matrix(shift[:, axis], length) for axis, length in enumerate(video.shape[3:])
    )
    return torch.einsum("bih,bcthw,bjw->bctij", rows, video, columns)


def _shift_matrix(shift: Tensor, length: int) -> Tensor:
    """Return 0/1 matrices (B, length, length) that shift an axis."""
    places = torch.arange(length, device=shift.device)
    sources = (places - (shift * length).round().long()[:, None]).clamp(0, length - 1)  # B length
    return (sources.unsqueeze(2) == places).to(shift.dtype)


def change_colour(video: Tensor, colour: Tensor, std: Tensor) -> Tensor:
    """Change brightness, and contrast about each clip's mean colour.

    Shapes: video (B, C, T, H, W), colour (B, 2) -> (B, C, T, H, W).
    """
    brightness, contrast = colour[:, :, None, None, None, None].unbind(1)  # B 1 1 1 1
    mean = video.mean((2, 3, 4), keepdim=True)
    return mean + (video - mean) * MAX_CONTRAST**contrast + MAX_BRIGHTNESS * std * brightness


def cut_out(place: Tensor, height: int, width: int) -> Tensor:
    """Return a mask that is 0 in a rectangle and 1 elsewhere.

    Shapes: place (B, 2), the centre in frames -> (B, 1, 1, H, W).
    """
    is_inside = []
    for axis, length in enumerate((height, width)):
        centres = (torch.arange(length, device=place.device) + 0.5) / length
        is_inside.append((centres - place[:, axis, None]).abs() < CUTOUT / 2)  # B length
    inside = is_inside[0][:, None, None, :, None] & is_inside[1][:, None, None, None, :]
    return inside.logical_not().to(place.dtype)
