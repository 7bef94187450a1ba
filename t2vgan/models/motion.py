"""Motion features of pairs of successive frames."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2vgan.models.casting import Conv2d, Linear
from t2vgan.models.layers import ResidualBlock, TimeFeatures, channels_first

TINY = 1e-12
"""Added to a divisor that may be 0."""


class MotionTrunk(nn.Module):
    """Encode each pair of successive frames from their maps, difference and correlation.

    Convolutions on stacked frames hardly learn which way a texture moved, because that takes
    products of the two frames. A correlation layer computes them: how well each cell matches the
    next frame's cells at small displacements (FlowNet, Dosovitskiy et al., ICCV 2015, section 3).
    Displacements along the two axes only are computed, by two small matrix products.
    """

    GAIN = 2.0  # correlations are at most 1, and mostly near 0

    def __init__(
        self, *, channels: int, match_channels: int, hidden_size: int, grid: tuple[int, int]
    ) -> None:
        super().__init__()
        rows, columns = grid
        self.reach = (rows // 4, columns // 4)
        inputs = 2 * channels + sum(2 * reach + 1 for reach in self.reach)
        self.to_match = Conv2d(channels, match_channels, 1)
        self.first = Conv2d(inputs, 2 * channels, 3, stride=2, padding=1)
        self.block = ResidualBlock(2 * channels)
        self.second = Conv2d(2 * channels, 4 * channels, 3, stride=2, padding=1)
        self.layout = Linear(4 * channels * (rows // 4) * (columns // 4), hidden_size)
        self.time_features = TimeFeatures()
        self.time = Linear(self.time_features.size, hidden_size)

    def forward(self, maps: Tensor, times: Tensor) -> Tensor:
        """Encode each pair of successive frames.

        maps (B, K, C, h, w), times (B, K) -> (B, K-1, hidden).
        """
        cells = maps.movedim(2, 4)  # B K h w C: the order in memory, so that nothing is copied
        here, there = cells[:, :-1], cells[:, 1:]
        inputs = torch.cat([here, there - here, *self.correlate_frames(maps)], dim=4)
        inputs = channels_first(inputs.flatten(0, 1))  # (B P) D h w
        features = self.block(F.silu(self.first(inputs)))
        features = F.silu(self.second(F.silu(features)))
        features = F.silu(self.layout(features.flatten(1)))  # (B P) hidden
        gap = self.time_features(times[:, 1:] - times[:, :-1])
        return features.unflatten(0, gap.shape[:2]) * (1 + self.time(gap))

    def correlate_frames(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Correlate successive frames along both axes.

        maps (B, K, C, h, w) -> (B, K-1, h, w, 2*reach + 1) for each axis.
        """
        cells = self.to_match(maps.flatten(0, 1)).movedim(1, 3)  # (B K) h w M
        lengths = torch.linalg.vector_norm(cells, dim=3, keepdim=True)
        cells = (cells / (lengths + TINY)).unflatten(0, maps.shape[:2])
        first, second = self.GAIN * cells[:, :-1], cells[:, 1:]
        return correlate(first, second, self.reach)


def correlate(first: Tensor, second: Tensor, reach: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Match the cells of two maps along both axes.

    Maps (..., h, w, C) -> (..., h, w, 2*reach + 1) for each axis: inner products of a cell with the
    other map's cells that are displaced by -reach to reach rows or columns; zero outside.
    """
    down = correlate_rows(first.transpose(-3, -2), second.transpose(-3, -2), reach[0])
    return down.transpose(-3, -2), correlate_rows(first, second, reach[1])


def correlate_rows(first: Tensor, second: Tensor, reach: int) -> Tensor:
    """Match each cell of a row with the other row's cells.

    Maps (..., h, w, C) -> (..., h, w, 2*reach + 1).
    """
    products = F.pad(first @ second.transpose(-2, -1), (reach, reach))  # ... h w w+2reach
    # Cell i's displacements begin at column i: a band of the matrix, read with a longer stride.
    stride = products.shape[-1] + 1
    return products.flatten(-2).unfold(-1, 2 * reach + 1, stride)
