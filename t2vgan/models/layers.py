"""Layers and tensor operations that several networks share."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2vgan.models.casting import Conv2d, to_autocast
from t2vgan.models.checkpointing import CheckpointedModule

RGB = 3
ScaleAndShift: TypeAlias = tuple[Tensor, Tensor]
"""Scale and shift of maps (N, C, h, w), (N, C) each."""
NO_MEAN, UNIT_STD = (0.0,) * RGB, (1.0,) * RGB  # leave videos unchanged


class Standardizer(nn.Module):
    """Standardize video by the mean and std of each channel.

    Mean and std are buffers and saved with the network. Files of versions without them load as mean
    0 and std 1, which change no bit.
    """

    mean: Tensor
    std: Tensor
    scale: Tensor
    """1 / std."""
    offset: Tensor
    """-mean / std."""

    def __init__(self, mean: Sequence[float] = NO_MEAN, std: Sequence[float] = UNIT_STD) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(RGB, 1, 1, 1))
        for name in ("scale", "offset"):
            self.register_buffer(name, torch.ones(RGB, 1, 1, 1), persistent=False)
        self.is_identity = False
        self.update()
        self.register_load_state_dict_post_hook(lambda module, _: module.update())

    def update(self) -> None:
        """Compute the values derived from mean and std."""
        self.scale.copy_(1 / self.std)
        self.offset.copy_(-self.mean / self.std)
        self.is_identity = not self.mean.any() and bool((self.std == 1).all())

    def standardize(self, video: Tensor) -> Tensor:
        """Standardize video (B, 3, T, H, W)."""
        return video if self.is_identity else torch.addcmul(self.offset, video, self.scale)

    def restore(self, video: Tensor) -> Tensor:
        """Undo `standardize`."""
        return video if self.is_identity else torch.addcmul(self.mean, video, self.std)


class TimeFeatures(nn.Module):
    """Encode time, 0 to 1 over a clip, as sines and cosines."""

    FREQUENCIES = (0.5, 1.0, 2.0, 3.0, 4.5, 9.0)
    frequencies: Tensor
    phases: Tensor

    def __init__(self) -> None:
        super().__init__()
        frequencies, phases = make_waves(self.FREQUENCIES)
        self.register_buffer("frequencies", frequencies * math.pi, persistent=False)
        self.register_buffer("phases", phases, persistent=False)

    @property
    def size(self) -> int:
        return 2 * len(self.FREQUENCIES)

    def forward(self, times: Tensor) -> Tensor:
        """Encode times (B, K) in [0, 1]: (B, K, 12)."""
        return torch.addcmul(self.phases, times.unsqueeze(-1), self.frequencies).sin()


def make_waves(frequencies: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Return frequencies and phases, (2F,), of sines and then cosines.

    A cosine is written as a sine with a phase of pi / 2.
    """
    phases = torch.zeros(len(frequencies))
    return torch.tensor(frequencies).repeat(2), torch.cat([phases, phases + math.pi / 2])


class CodeLayers(nn.Module):
    """Apply several linear layers to a code as one matrix product.

    The layers keep their places and names in the network.
    """

    offset: Tensor
    """Added to the biases: 1 for scales, 0 for all else, (sum of all features,)."""

    def __init__(
        self,
        layout: nn.Linear,
        modulations: Sequence[nn.Linear],
        placing: Sequence[nn.Linear] = (),
    ) -> None:
        super().__init__()
        self.layers = (layout, *modulations, *placing)
        drawn = [layout.out_features]
        for layer in modulations:
            drawn += 2 * [layer.out_features // 2]
        self.sizes = drawn, [layer.out_features for layer in placing]
        offsets = [torch.zeros(size) for sizes in self.sizes for size in sizes]
        for of_scale in offsets[1 : len(drawn) : 2]:
            of_scale.fill_(1)
        self.register_buffer("offset", torch.cat(offsets), persistent=False)

    def forward(self, code: Tensor) -> tuple[Tensor, list[ScaleAndShift], Sequence[Tensor]]:
        """Map codes (N, E) by all layers.

        Returns the layout and each modulation's scale and shift, in the type of autocast, and the
        output of each placing layer, in float32, because rounded positions jitter.
        """
        with torch.autocast(code.device.type, enabled=False):
            weight = torch.cat([layer.weight for layer in self.layers])
            bias = torch.cat([layer.bias for layer in self.layers])
            values = F.linear(code, weight, bias + self.offset)
        drawn, placed = values.split([sum(sizes) for sizes in self.sizes], dim=1)
        layout, *pairs = to_autocast(drawn).split(self.sizes[0], dim=1)
        modulations = list(zip(pairs[::2], pairs[1::2], strict=True))
        # Without placing layers, no split: torch.export writes one without results unreadably.
        places = placed.split(self.sizes[1], dim=1) if self.sizes[1] else ()
        return layout, modulations, places


class ResidualBlock(CheckpointedModule):
    """Apply two 3x3 convolutions with a skip connection.

    If there is a code, the maps between the convolutions are scaled and shifted by it.
    """

    def __init__(self, channels: int, *, code_size: int = 0) -> None:
        super().__init__()
        self.first = Conv2d(channels, channels, 3, padding=1)
        self.second = Conv2d(channels, channels, 3, padding=1)
        if code_size:
            self.modulation = nn.Linear(code_size, 2 * channels)  # CodeLayers adds 1 to scales

    def forward(self, maps: Tensor, modulation: ScaleAndShift | None = None) -> Tensor:
        """Update maps (N, C, h, w), modulated by a result of `CodeLayers`."""
        return self.recompute(self.update, maps, *(modulation or ()))

    def update(
        self, maps: Tensor, scale: Tensor | None = None, shift: Tensor | None = None
    ) -> Tensor:
        """Compute what `forward` returns."""
        inner = F.silu(self.first(maps))
        if scale is not None and shift is not None:
            inner = torch.addcmul(shift[:, :, None, None], inner, scale[:, :, None, None])
        return torch.add(maps, self.second(inner), alpha=0.5)


def to_float32(tensor: Tensor) -> Tensor:
    """Convert half-precision values to float32; return others as they are."""
    return tensor.float() if tensor.dtype in (torch.bfloat16, torch.float16) else tensor


def upsample2x(maps: Tensor) -> Tensor:
    """Double height and width by repeating cells: (N, C, 2h, 2w)."""
    return F.interpolate(maps, scale_factor=2, mode="nearest")


def channels_first(maps: Tensor) -> Tensor:
    """View (N, h, w, C) as (N, C, h, w).

    Nothing is copied: the result has the channels_last memory format.
    """
    return maps.permute(0, 3, 1, 2)


def channels_last(maps: Tensor) -> Tensor:
    """View (N, C, h, w) as (N, h, w, C)."""
    return maps.permute(0, 2, 3, 1)


def repeat_clips(values: Tensor, num_prompts: int, num_repeats: int) -> Tensor:
    """Repeat values (B, ...) of clips for their prompts: (num_prompts, ...).

    Each clip has one prompt; further prompts are `num_repeats` blocks, each with one prompt for
    each of the first clips.
    """
    num_further = (num_prompts - len(values)) // num_repeats
    if not num_further:
        return values
    further = values[:num_further]
    if num_repeats > 1:
        further = further.repeat(num_repeats, *[1] * (values.ndim - 1))
    return torch.cat([values, further])
