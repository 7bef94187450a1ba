"""Compute mean and std of a dataset, exactly.

They follow from sums of whole numbers. Those of clips add up to those of a shard, and those of
shards to a dataset's, in any order: they depend neither on workers nor on what was built when.
"""

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

LEAST_STD = 0.05
"""Of video that hardly varies, in units of [-1, 1]: what is constant must not become noise."""

Channels = tuple[float, float, float]
Sums = Annotated[tuple[NonNegativeInt, ...], Field(min_length=3, max_length=3)]


class PixelStatistics(NamedTuple):
    """Mean of red, green and blue values and their std.

    In units of [-1, 1]. All channels have one std, at least LEAST_STD: colours keep their
    proportions, and noise in a channel that never varies stays as small as it looks.
    """

    mean: Channels
    std: float


class PixelSums(BaseModel):
    """Sums over all pixels of some frames, for each channel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_pixels: PositiveInt
    values: Sums
    """Of red, green and blue, each 0 to 255."""
    squares: Sums

    def statistics(self) -> PixelStatistics:
        """Return mean and std of video in [-1, 1]."""
        count = self.num_pixels
        red, green, blue = (value / count / 127.5 - 1 for value in self.values)
        pairs = zip(self.values, self.squares, strict=True)
        variance = sum(count * square - value**2 for value, square in pairs) / (3 * count**2)
        return PixelStatistics((red, green, blue), max(LEAST_STD, math.sqrt(variance) / 127.5))


def sum_pixels(frames: np.ndarray) -> PixelSums:
    """Sum the pixels of frames (..., 3) uint8."""
    levels = np.arange(256)
    counts = [np.bincount(channel, minlength=256) for channel in frames.reshape(-1, 3).T]
    return PixelSums(
        num_pixels=frames.size // 3,
        values=tuple(int(count @ levels) for count in counts),
        squares=tuple(int(count @ levels**2) for count in counts),
    )


def add_sums(parts: Sequence[PixelSums]) -> PixelSums | None:
    """Add sums up; None of nothing."""
    if not parts:
        return None
    return PixelSums(
        num_pixels=sum(part.num_pixels for part in parts),
        values=tuple(map(sum, zip(*(part.values for part in parts), strict=True))),
        squares=tuple(map(sum, zip(*(part.squares for part in parts), strict=True))),
    )


def mix_statistics(parts: Sequence[PixelStatistics], weights: Sequence[float]) -> PixelStatistics:
    """Return the statistics of datasets that are shown in these shares."""
    shares = np.array(weights, dtype=float) / sum(weights)
    means, stds = np.array([part.mean for part in parts]), np.array([part.std for part in parts])
    mean = shares @ means
    variance = shares @ (stds**2 + np.square(means - mean).mean(axis=1))
    red, green, blue = mean.tolist()
    return PixelStatistics((red, green, blue), max(LEAST_STD, math.sqrt(variance)))
