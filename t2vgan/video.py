"""Conversion between frames (files, metrics) and video (models, losses).

No other module permutes these axes.
"""

import torch
from einops import rearrange
from torch import Tensor


def to_video(frames: Tensor) -> Tensor:
    """Convert frames to video.

    frames (B, T, H, W, 3) uint8 -> (B, 3, T, H, W) float32 in [-1, 1]. Memory keeps the frames'
    order, which is `torch.channels_last_3d`: only the type is converted.

    Raises:
        ValueError: the frames have another shape or type.
    """
    if frames.ndim != 5 or frames.shape[4] != 3 or frames.dtype != torch.uint8:
        raise ValueError(f"frames must be (B, T, H, W, 3) uint8: {_format_shape(frames)}")
    return rearrange(frames, "b t h w c -> b c t h w").float().div_(127.5).sub_(1)


def to_frames(video: Tensor) -> Tensor:
    """Convert video to frames.

    video (B, 3, T, H, W) in [-1, 1] -> (B, T, H, W, 3) uint8. Values are rounded, and clamped
    where a network overshoots. `to_frames(to_video(frames))` is `frames`.

    Raises:
        ValueError: the video has another shape or type.
    """
    if video.ndim != 5 or video.shape[1] != 3 or not video.is_floating_point():
        raise ValueError(f"video must be (B, 3, T, H, W) floating point: {_format_shape(video)}")
    levels = (video.float() + 1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return rearrange(levels, "b c t h w -> b t h w c").contiguous()


def _format_shape(tensor: Tensor) -> str:
    """Format a tensor's shape and type for an error message."""
    return f"got {tuple(tensor.shape)} {tensor.dtype}"
