"""The parts our networks are made of."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from t2vgan.models.coordinates import PlaceEmbedding, Reference
from t2vgan.models.patches import channels_first, join_patches, maps_last, split_patches

RGB = 3


class TimeFeatures(nn.Module):
    """Sines and cosines of time, 0 at a clip's first frame and 1 at its last."""

    FREQUENCIES = (0.5, 1.0, 2.0, 3.0, 4.5, 9.0)
    frequencies: Tensor

    def __init__(self) -> None:
        super().__init__()
        frequencies = torch.tensor(self.FREQUENCIES) * math.pi
        self.register_buffer("frequencies", frequencies, persistent=False)

    @property
    def size(self) -> int:
        return 2 * len(self.FREQUENCIES)

    def forward(self, times: Tensor) -> Tensor:
        """times (B, K) in [0, 1] -> (B, K, 12)."""
        angles = times.unsqueeze(-1) * self.frequencies  # B K 6
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside a skip; a per-image code scales and shifts between them."""

    def __init__(self, channels: int, *, code_size: int = 0) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(code_size, 2 * channels) if code_size else None

    def forward(self, maps: Tensor, code: Tensor | None = None) -> Tensor:
        """maps (N, C, h, w), code (N, code_size) -> (N, C, h, w)."""
        inner = F.silu(self.first(maps))
        if self.modulation is not None:
            scale, shift = self.modulation(code)[:, :, None, None].chunk(2, dim=1)  # N C 1 1
            inner = torch.addcmul(shift, inner, 1 + scale)
        return maps + 0.5 * self.second(inner)


class FromPatches(nn.Module):
    """Embed every patch of every frame, in a basis where fine detail counts less."""

    basis: Tensor

    def __init__(self, patch_size: int, channels: int) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.linear = nn.Linear(RGB * patch_size**2, channels)
        self.register_buffer("basis", cosine_basis(patch_size), persistent=False)

    def forward(self, video: Tensor) -> Tensor:
        """video (B, 3, T, H, W) -> maps (B*T, C, H/p, W/p)."""
        patches = split_patches(video, self.patch_size)  # (B T) h w 3pp
        by_colour = self.linear.weight.unflatten(1, (RGB, len(self.basis)))  # C 3 pp
        maps = F.linear(patches, (by_colour @ self.basis).flatten(1), self.linear.bias)
        return channels_first(maps)


class ToPatches(nn.Module):
    """Draw every patch of every frame, in a basis where fine detail comes out fainter."""

    basis: Tensor

    def __init__(self, patch_size: int, channels: int, *, out_channels: int = RGB) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.linear = nn.Linear(channels, out_channels * patch_size**2)
        self.register_buffer("basis", cosine_basis(patch_size), persistent=False)

    def forward(self, maps: Tensor, *, num_frames: int) -> Tensor:
        """maps (B*T, C, h, w) -> video (B, out_channels, T, h*p, w*p)."""
        of_patch = (-1, len(self.basis))  # out_channels pp
        weight = self.basis.T @ self.linear.weight.unflatten(0, of_patch)
        bias = self.linear.bias.unflatten(0, of_patch) @ self.basis
        patches = F.linear(maps_last(maps), weight.flatten(0, 1), bias.flatten())  # (B T) h w Opp
        return join_patches(patches, self.patch_size, num_frames)


class FromPixels(nn.Module):
    """Embed every patch of every frame after a look at its pixels: corners are smaller than it."""

    def __init__(self, patch_size: int, channels: int, *, pixel_channels: int) -> None:
        super().__init__()
        self.look = nn.Conv2d(RGB, pixel_channels, 3, padding=1)
        self.gather = nn.Conv2d(
            pixel_channels, channels, patch_size + 2, stride=patch_size, padding=1
        )

    def forward(self, video: Tensor) -> Tensor:
        """video (B, 3, T, H, W) -> maps (B*T, C, H/p, W/p)."""
        frames = rearrange(video, "b c t h w -> (b t) c h w")
        frames = frames.contiguous(memory_format=torch.channels_last)
        return self.gather(F.silu(self.look(frames)))


class ToPixels(nn.Module):
    """Draw what is finer than a patch: at each pixel, which knows where it lies.

    It starts as zero, so that a network first learns what patches can show.
    """

    def __init__(
        self,
        patch_size: int,
        channels: int,
        *,
        pixel_channels: int,
        place_size: int,
        code_size: int,
        out_channels: int = RGB,
    ) -> None:
        super().__init__()
        self.patch_size = patch_size
        self.spread = nn.Conv2d(channels, pixel_channels * patch_size**2, 1)
        self.place = PlaceEmbedding(place_size, pixel_channels)
        self.block = ResidualBlock(pixel_channels, code_size=code_size)
        self.to_colours = nn.Conv2d(pixel_channels, out_channels, 3, padding=1)
        for parameter in self.to_colours.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, maps: Tensor, reference: Reference, code: Tensor, *, num_frames: int
    ) -> Tensor:
        """maps (B*T, C, h, w), code (B*T, code_size) -> video (B, out_channels, T, h*p, w*p)."""
        pixels = F.pixel_shuffle(self.spread(maps), self.patch_size)  # (B T) P H W
        pixels = pixels + self.place(reference, *pixels.shape[2:])
        pixels = self.block(pixels.contiguous(memory_format=torch.channels_last), code)
        return rearrange(self.to_colours(F.silu(pixels)), "(b t) c h w -> b c t h w", t=num_frames)


def cosine_basis(patch_size: int) -> Tensor:
    """Return the waves of a patch of one colour, one a row, (p*p, p*p), damped by 1 / (1 + u + v).

    The rows of the two-dimensional DCT-II are orthonormal. Damping them is a preconditioner: a
    step of Adam then changes smooth parts of a patch more than pixel noise, which otherwise
    occupies both networks for the first thousand steps.
    """
    index = torch.arange(patch_size)
    waves = torch.cos(math.pi / patch_size * (index + 0.5) * index[:, None])  # u position
    waves = waves * torch.where(index == 0, 1.0, 2.0).div(patch_size).sqrt()[:, None]
    damping = 1 / (1 + index[:, None] + index)
    basis = torch.einsum("ui,vj,uv->uvij", waves, waves, damping)
    return rearrange(basis, "u v i j -> (u v) (i j)")
