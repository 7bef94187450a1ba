"""Compute the exact mean and std of a dataset's pixels.

They are computed from integer sums. Sums of clips add up to those of a shard, and those of shards
to a dataset's, in any order, so they do not depend on workers or the order of building.
"""

import math
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, PositiveInt

LEAST_STD = 0.05
"""Lower bound of the std, in units of [-1, 1], so that constant video is not amplified to noise."""

Channels = tuple[float, float, float]
Sums = Annotated[tuple[NonNegativeInt, ...], Field(min_length=3, max_length=3)]


class PixelStatistics(NamedTuple):
    """Means of red, green and blue, and their common std.

    They are in units of [-1, 1]. All channels have the same std, at least LEAST_STD, so that
    colours keep their proportions, and noise in a channel that hardly varies is not amplified.
    """

    mean: Channels
    std: float


class PixelSums(BaseModel):
    """Sums over all pixels of some frames, by channel."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_pixels: PositiveInt
    values: Sums
    """Sums of red, green and blue values, which are 0 to 255."""
    squares: Sums
    """Sums of the squared values."""

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
    """Add up sums; None if there are none."""
    if not parts:
        return None
    return PixelSums(
        num_pixels=sum(part.num_pixels for part in parts),
        values=tuple(map(sum, zip(*(part.values for part in parts), strict=True))),
        squares=tuple(map(sum, zip(*(part.squares for part in parts), strict=True))),
    )


def mix_statistics(parts: Sequence[PixelStatistics], weights: Sequence[float]) -> PixelStatistics:
    """Return the statistics of a mixture of datasets with these weights."""
    shares = np.array(weights, dtype=float) / sum(weights)
    means, stds = np.array([part.mean for part in parts]), np.array([part.std for part in parts])
    mean = shares @ means
    variance = shares @ (stds**2 + np.square(means - mean).mean(axis=1))
    red, green, blue = mean.tolist()
    return PixelStatistics((red, green, blue), max(LEAST_STD, math.sqrt(variance)))
