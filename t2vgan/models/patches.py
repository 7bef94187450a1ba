"""Conversion between video and feature maps with one cell per patch."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from t2vgan.errors import UserError
from t2vgan.models.casting import Conv2d, Linear, current_weights
from t2vgan.models.checkpointing import CheckpointedModule
from t2vgan.models.coordinates import PlaceEmbedding
from t2vgan.models.layers import RGB, ResidualBlock, channels_first, channels_last


class FromPatches(nn.Module):
    """Embed every patch in a basis where fine detail counts less."""

    basis: Tensor

    def __init__(self, patch_size: int, channels: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.linear = Linear(RGB * patch_size**2, channels)
        self.register_buffer("basis", cosine_basis(patch_size), persistent=False)

    def forward(self, video: Tensor) -> Tensor:
        """Embed video (B, 3, T, H, W): maps (B*T, C, H/p, W/p)."""
        patches = split_patches(video, self.patch_size)  # (B T) h w 3pp
        weight, bias = current_weights(self.linear)
        by_colour = weight.unflatten(1, (RGB, len(self.basis)))  # C 3 pp
        maps = F.linear(patches, (by_colour @ self.basis).flatten(1), bias)
        return channels_first(maps)


class ToPatches(nn.Module):
    """Draw every patch in a basis where fine detail comes out fainter."""

    basis: Tensor

    def __init__(self, patch_size: int, channels: int, *, out_channels: int = RGB) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.linear = Linear(channels, out_channels * patch_size**2)
        self.register_buffer("basis", cosine_basis(patch_size), persistent=False)

    def forward(self, maps: Tensor, *, num_frames: int) -> Tensor:
        """Draw maps (B*T, C, h, w): video (B, O, T, h*p, w*p)."""
        of_patch = (-1, len(self.basis))  # O pp
        weight, bias = current_weights(self.linear)
        weight = self.basis.T @ weight.unflatten(0, of_patch)
        bias = bias.unflatten(0, of_patch) @ self.basis
        patches = F.linear(channels_last(maps), weight.flatten(0, 1), bias.flatten())
        return join_patches(patches, self.patch_size, num_frames)  # of (B T) h w Opp


class FromPixels(CheckpointedModule):
    """Embed every patch after a convolution at full resolution.

    Corners are smaller than a patch.
    """

    def __init__(self, patch_size: int, channels: int, *, pixel_channels: int) -> None:
        super().__init__()
        self.look = Conv2d(RGB, pixel_channels, 3, padding=1)
        self.gather = Conv2d(pixel_channels, channels, patch_size + 2, stride=patch_size, padding=1)

    def forward(self, video: Tensor) -> Tensor:
        """Embed video (B, 3, T, H, W): maps (B*T, C, H/p, W/p)."""
        frames = rearrange(video, "b c t h w -> (b t) c h w")
        return self.recompute(self.embed, frames.contiguous(memory_format=torch.channels_last))

    def embed(self, frames: Tensor) -> Tensor:
        """Embed frames (N, 3, H, W): maps (N, C, H/p, W/p)."""
        return self.gather(F.silu(self.look(frames)))


class ToPixels(nn.Module):
    """Draw what is finer than a patch, from maps and pixel coordinates.

    The last layer starts at zero, so that a network first learns what patches can show.
    """

    def __init__(
        self,
        patch_size: int,
        channels: int,
        *,
        pixel_channels: int,
        num_references: int,
        grid: tuple[int, int],
        code_size: int,
        out_channels: int = RGB,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.spread = Conv2d(channels, pixel_channels * patch_size**2, 1)
        rows, columns = (patch_size * cells for cells in grid)
        self.place = PlaceEmbedding(
            pixel_channels, rows=rows, columns=columns, num_references=num_references
        )
        self.block = ResidualBlock(pixel_channels, code_size=code_size)
        self.to_colours = Conv2d(pixel_channels, out_channels, 3, padding=1)
        for parameter in self.to_colours.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self,
        maps: Tensor,
        references: Tensor | None,
        scale_and_shift: Tensor,
        *,
        num_frames: int,
    ) -> Tensor:
        """Draw full-resolution detail.

        maps (B*T, C, h, w), references as in `PlaceEmbedding`, scale_and_shift (B*T, 2P) of the
        block's modulation -> video (B, O, T, h*p, w*p).
        """
        pixels = F.pixel_shuffle(self.spread(maps), self.patch_size)  # (B T) P H W
        pixels = pixels + self.place(references)
        pixels = self.block(pixels.contiguous(memory_format=torch.channels_last), scale_and_shift)
        return rearrange(self.to_colours(F.silu(pixels)), "(b t) c h w -> b c t h w", t=num_frames)


def split_patches(video: Tensor, patch_size: int) -> Tensor:
    """Split every frame into patches.

    video (B, C, T, H, W) -> (B*T, H/p, W/p, C*p*p).
    """
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


def cosine_basis(patch_size: int) -> Tensor:
    """Compute the damped cosine waves of a one-colour patch, (p*p, p*p).

    Each row is one wave, of frequencies (u, v), times 1 / (1 + u + v). The rows of the
    two-dimensional DCT-II are orthonormal. Damping them is a preconditioner: a step of Adam then
    changes smooth parts of a patch more than pixel noise, which otherwise occupies both networks
    for the first thousand steps.
    """
    index = torch.arange(patch_size)
    waves = torch.cos(math.pi / patch_size * (index + 0.5) * index[:, None])  # u position
    waves = waves * torch.where(index == 0, 1.0, 2.0).div(patch_size).sqrt()[:, None]
    damping = 1 / (1 + index[:, None] + index)
    basis = torch.einsum("ui,vj,uv->uvij", waves, waves, damping)
    return rearrange(basis, "u v i j -> (u v) (i j)")


def compute_grid(patch_size: int, height: int, width: int) -> tuple[int, int]:
    """Compute the finest grid (rows, columns) of patches.

    Raises:
        UserError: a side is not a multiple of four patches.
    """
    unit = 4 * patch_size
    for name, length in (("height", height), ("width", width)):
        if length < unit or length % unit:
            nearest = max(unit, length // unit * unit)
            raise UserError(
                f"{name}={length} must be a multiple of 4 * model.patch_size = {unit};"
                f" build shards with {name} {nearest}, or change --model.patch-size"
            )
    return height // patch_size, width // patch_size
