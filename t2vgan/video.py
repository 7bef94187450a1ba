"""Between frames (files, metrics) and video (models, losses): the only place that permutes."""

import torch
from einops import rearrange
from torch import Tensor


def to_video(frames: Tensor) -> Tensor:
    """Return frames (B, T, H, W, 3) uint8 as video (B, 3, T, H, W) float32 in [-1, 1].

    The memory stays in the frames' order, which is `torch.channels_last_3d`: nothing is copied but
    the numbers' type. Raises ValueError for another shape or type.
    """
    if frames.ndim != 5 or frames.shape[4] != 3 or frames.dtype != torch.uint8:
        raise ValueError(f"frames must be (B, T, H, W, 3) uint8: {describe(frames)}")
    return rearrange(frames, "b t h w c -> b c t h w").float().div_(127.5).sub_(1)


def to_frames(video: Tensor) -> Tensor:
    """Return video (B, 3, T, H, W) in [-1, 1] as frames (B, T, H, W, 3) uint8.

    Values are rounded, and clamped where a network overshoots. `to_frames(to_video(frames))` is
    `frames`. Raises ValueError for another shape or type.
    """
    if video.ndim != 5 or video.shape[1] != 3 or not video.is_floating_point():
        raise ValueError(f"video must be (B, 3, T, H, W) floating point: {describe(video)}")
    levels = (video.float() + 1).mul_(127.5).round_().clamp_(0, 255).to(torch.uint8)
    return rearrange(levels, "b c t h w -> b t h w c").contiguous()


def describe(tensor: Tensor) -> str:
    """Return a tensor's shape and type for an error message."""
    return f"got {tuple(tensor.shape)} {tensor.dtype}"
