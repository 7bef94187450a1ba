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
from t2vgan.models.layers import (
    RGB,
    ResidualBlock,
    ScaleAndShift,
    channels_first,
    channels_last,
)


class FromPatches(nn.Module):
    """Embed every patch in a basis that damps fine detail."""

    basis: Tensor

    def __init__(self, patch_size: int, channels: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.linear = Linear(RGB * patch_size**2, channels)
        self.register_buffer("basis", cosine_basis(patch_size), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Embed frames (N, 3, H, W): maps (N, C, H/p, W/p)."""
        weight, bias = current_weights(self.linear)
        by_colour = weight.unflatten(1, (RGB, len(self.basis))) @ self.basis  # C 3 pp
        if frames.requires_grad:  # the input gradient of a convolution would be slower
            patches = split_patches(frames, self.patch_size)  # N h w pp3
            return channels_first(F.linear(patches, by_colour.transpose(1, 2).flatten(1), bias))
        weight = by_colour.unflatten(2, (self.patch_size, -1))
        return F.conv2d(frames, weight, bias, stride=self.patch_size)


class Smoothing(nn.Module):
    """Remove patterns that repeat from patch to patch, by averaging.

    Frames are averaged by a box as wide as a patch (Sugawara et al., ICIP 2018); if its width is
    even, also by a box of two pixels, to centre it. Pixels outside the frame are not counted.
    """

    kernel: Tensor
    share: Tensor
    """Inverse of the kernel's weight within the frame, (H, W)."""

    def __init__(self, patch_size: int, grid: tuple[int, int]) -> None:
        super().__init__()
        self.reach = patch_size // 2
        weights = torch.ones(2 * self.reach + 1)
        if patch_size % 2 == 0:
            weights[[0, -1]] = 0.5
        kernel = torch.outer(weights, weights) / patch_size**2
        self.register_buffer("kernel", kernel, persistent=False)
        white = torch.ones(1, 1, *(patch_size * cells for cells in grid))
        self.register_buffer("share", 1 / self.convolve(white)[0, 0], persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Smooth frames (N, O, H, W)."""
        return self.convolve(frames) * self.share.to(frames.dtype)

    def convolve(self, frames: Tensor) -> Tensor:
        """Convolve channels of frames (N, O, H, W), zero outside."""
        num_channels = frames.shape[1]
        kernel = self.kernel.to(frames.dtype).expand(num_channels, 1, -1, -1)
        return F.conv2d(frames, kernel, padding=self.reach, groups=num_channels)


class ToPatches(nn.Module):
    """Draw every patch in a basis that damps fine detail."""

    basis: Tensor

    def __init__(
        self,
        patch_size: int,
        channels: int,
        smoothing: nn.Module,
        *,
        out_channels: int = RGB,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.linear = Linear(channels, out_channels * patch_size**2)
        self.register_buffer("basis", cosine_basis(patch_size), persistent=False)
        self.smoothing = smoothing

    def forward(self, maps: Tensor) -> Tensor:
        """Draw maps (N, C, h, w): frames (N, O, h*p, w*p)."""
        of_patch = (-1, len(self.basis))  # O pp
        weight, bias = current_weights(self.linear)
        weight = self.basis.T @ weight.unflatten(0, of_patch)  # O pp C
        bias = bias.unflatten(0, of_patch) @ self.basis
        return self.smoothing(draw_patches(maps, weight, bias, self.patch_size))


class FromPixels(CheckpointedModule):
    """Embed every patch after a convolution at full resolution.

    It sees details that are finer than a patch, such as corners.
    """

    def __init__(self, patch_size: int, channels: int, *, pixel_channels: int) -> None:
        super().__init__()
        self.look = Conv2d(RGB, pixel_channels, 3, padding=1)
        self.gather = Conv2d(pixel_channels, channels, patch_size + 2, stride=patch_size, padding=1)

    def forward(self, frames: Tensor) -> Tensor:
        """Embed frames (N, 3, H, W): maps (N, C, H/p, W/p)."""
        return self.recompute(self.embed, frames)

    def embed(self, frames: Tensor) -> Tensor:
        """Compute what `forward` returns."""
        return self.gather(F.silu(self.look(frames)))


class ToPixels(nn.Module):
    """Draw details finer than a patch, from maps and pixel coordinates.

    The last layer is initialised to zero, so that a network first learns what patches can show.
    """

    def __init__(
        self,
        patch_size: int,
        channels: int,
        smoothing: nn.Module,
        *,
        pixel_channels: int,
        num_references: int,
        grid: tuple[int, int],
        code_size: int,
        out_channels: int = RGB,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.smoothing = smoothing
        self.spread = Conv2d(channels, pixel_channels * patch_size**2, 1)
        rows, columns = (patch_size * cells for cells in grid)
        self.place = PlaceEmbedding(
            pixel_channels, rows=rows, columns=columns, num_references=num_references
        )
        self.block = ResidualBlock(pixel_channels, code_size=code_size)
        self.to_colours = Conv2d(pixel_channels, out_channels, 3, padding=1)
        for parameter in self.to_colours.parameters():
            nn.init.zeros_(parameter)

    def forward(self, maps: Tensor, references: Tensor | None, modulation: ScaleAndShift) -> Tensor:
        """Draw full-resolution detail.

        maps (N, C, h, w), references as in `PlaceEmbedding`, modulation of the block -> frames
        (N, O, h*p, w*p).
        """
        weight, bias = current_weights(self.spread)
        of_patch = (-1, self.patch_size**2)  # P pp
        weight, bias = weight.flatten(1).unflatten(0, of_patch), bias.unflatten(0, of_patch)
        pixels = self.smoothing(draw_patches(maps, weight, bias, self.patch_size))  # N P H W
        pixels = self.block(pixels + self.place(references), modulation)
        return self.to_colours(F.silu(pixels))


def split_patches(frames: Tensor, size: int) -> Tensor:
    """Split frames (N, O, h*p, w*p) into patches (N, h, w, p*p*O)."""
    rows = channels_last(frames).unflatten(2, (-1, size)).unflatten(1, (-1, size))  # N h p w p O
    return rows.transpose(2, 3).flatten(3)


def draw_patches(maps: Tensor, weight: Tensor, bias: Tensor, size: int) -> Tensor:
    """Draw each cell as a patch by a convolution and pixel shuffle.

    maps (N, C, h, w), weight (O, p*p, C), bias (O, p*p) -> frames (N, O, h*p, w*p), in the
    channels_last memory format. On a CPU it is several times as fast as `F.pixel_shuffle`, because
    the channels of a pixel stay adjacent in memory.
    """
    weight, bias = weight.transpose(0, 1).flatten(0, 1), bias.T.flatten()  # ppO C
    patches = channels_last(F.conv2d(maps, weight[:, :, None, None], bias))  # N h w ppO
    height, width = (size * cells for cells in maps.shape[2:])
    rows = patches.unflatten(3, (size, -1)).transpose(2, 3)  # N h p w pO
    return channels_first(rows.reshape(-1, height, width, bias.numel() // size**2))


def cosine_basis(patch_size: int) -> Tensor:
    """Compute the damped cosine waves of a one-channel patch, (p*p, p*p).

    Each row is one wave, of frequencies (u, v), of the orthonormal two-dimensional DCT-II,
    multiplied by 1 / (1 + u + v). Damping is a preconditioner: a step of Adam then changes smooth
    parts of a patch more than pixel noise, which otherwise occupies both networks for the first
    thousand steps.
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
