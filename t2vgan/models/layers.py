"""The parts our networks are made of."""

import math

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


class TextEncoder(nn.Module):
    """Embed a prompt: its words' embeddings, summed, over the root of their number, then an MLP."""

    def __init__(self, *, vocabulary_size: int, text_size: int) -> None:
        super().__init__()
        self.words = nn.Embedding(vocabulary_size, text_size, padding_idx=0)
        self.mlp = nn.Sequential(
            nn.Linear(text_size, text_size), nn.SiLU(), nn.Linear(text_size, text_size)
        )

    def forward(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """token_ids (B, L) int64, token_mask (B, L) bool -> text_embedding (B, E)."""
        words = self.words(token_ids) * token_mask.unsqueeze(-1)  # B L E
        return self.mlp(words.sum(1) / token_mask.sum(1, keepdim=True).sqrt())  # B E


class TimeFeatures(nn.Module):
    """Sines and cosines of time, 0 at a clip's first frame and 1 at its last."""

    FREQUENCIES = (0.5, 1.0, 2.0, 3.0, 4.5, 9.0)

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


def coordinate_features(height: int, width: int) -> Tensor:
    """Return sines and cosines of the position at four octaves, (1, 16, height, width)."""
    octaves = torch.tensor([0.5, 1.0, 2.0, 4.0]) * (math.pi / 2)

    def axis(length: int) -> Tensor:
        place = (torch.arange(length) + 0.5) / length * 2 - 1
        angles = octaves[:, None] * place  # 4 length
        return torch.cat([angles.sin(), angles.cos()])  # 8 length

    rows = axis(height)[:, :, None].expand(8, height, width)
    columns = axis(width)[:, None, :].expand(8, height, width)
    return torch.cat([columns, rows])[None]


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


def maps_first(maps: Tensor) -> Tensor:
    """View (N, h, w, C) as (N, C, h, w): the channels_last memory format, without a copy."""
    return maps.permute(0, 3, 1, 2)


def maps_last(maps: Tensor) -> Tensor:
    """View (N, C, h, w) as (N, h, w, C)."""
    return maps.permute(0, 2, 3, 1)
