"""Feature maps, patches and frames: one tensor, seen in different ways."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor


def to_float32(tensor: Tensor) -> Tensor:
    """Return half-precision values as float32; others as they are."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def split_patches(video: Tensor, patch_size: int) -> Tensor:
    """Cut every frame into patches: (B, C, T, H, W) -> (B*T, H/p, W/p, C*p*p), channels last."""
    return rearrange(video, "b c t (h p) (w q) -> (b t) h w (c p q)", p=patch_size, q=patch_size)


def join_patches(patches: Tensor, patch_size: int, num_frames: int) -> Tensor:
    """Undo `split_patches`: (B*T, h, w, C*p*p) -> (B, C, T, H, W)."""
    return rearrange(
        patches,
        "(b t) h w (c p q) -> b c t (h p) (w q)",
        t=num_frames,
        p=patch_size,
        q=patch_size,
    )


def channels_first(maps: Tensor) -> Tensor:
    """View (N, h, w, C) as (N, C, h, w): the channels_last memory format, without a copy."""
    return maps.permute(0, 3, 1, 2)


def maps_last(maps: Tensor) -> Tensor:
    """View (N, C, h, w) as (N, h, w, C)."""
    return maps.permute(0, 2, 3, 1)


def upsample2x(maps: Tensor) -> Tensor:
    """Repeat every cell twice in both directions: (N, C, h, w) -> (N, C, 2h, 2w)."""
    return F.interpolate(maps, scale_factor=2, mode="nearest")


def middles(length: int, device: torch.device) -> Tensor:
    """Return where the middles of an axis's cells lie, (length,): from -1 to 1."""
    return (torch.arange(length, device=device) + 0.5) / length * 2 - 1


def resample(maps: Tensor, slope: Tensor, start: Tensor, *, size: Sequence[int]) -> Tensor:
    """Return K views of maps, each with at place p, from -1 to 1, what is at slope * p + start.

    Bilinear; outside is nothing. Keep it out of autocast: bfloat16 knows places to a quarter of a
    pixel only.

    Shapes: maps (N, C, h, w), slope and start (N, K, 2), y before x, size (H, W) ->
    (N, C, K*H, W), view below view.
    """
    y, x = (
        slope[..., axis, None] * middles(length, maps.device) + start[..., axis, None]
        for axis, length in enumerate(size)
    )  # N K H, N K W
    grid = torch.stack(torch.broadcast_tensors(x.unsqueeze(2), y.unsqueeze(3)), dim=4)  # N K H W 2
    return F.grid_sample(
        maps, grid.flatten(1, 2), "bilinear", padding_mode="zeros", align_corners=False
    )
