"""Bilinear sampling of maps: views that are shifted, zoomed or warped.

`F.grid_sample` is the reference. On CUDA its gradient with respect to the maps is accumulated in
random order, so that runs are not reproducible, and in other runtimes it is many times slower than
matrix products. Bilinear weights are products of one hat function per axis, relu(1 - |x - i|) for
position x and cell i, so matrix products compute the same in a fixed order.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2vgan.models.coordinates import cell_centres


def resample(maps: Tensor, slope: Tensor, start: Tensor, size: tuple[int, int]) -> Tensor:
    """Sample K views of maps bilinearly, zero outside the maps.

    The cell of view k at position p, from -1 to 1 along each axis, shows the maps at the position
    slope * p + start, in the same units. Shapes: maps (N, C, h, w), slope and start (N, K, 2),
    y before x -> (N, C, K*H, W), with the views one below the other.
    """
    y, x = (
        slope[..., axis, None] * cell_centres(length).to(slope) + start[..., axis, None]
        for axis, length in enumerate(size)
    )  # N K H, N K W
    grid = torch.stack(torch.broadcast_tensors(x.unsqueeze(2), y.unsqueeze(3)), dim=4)  # N K H W 2
    return F.grid_sample(
        maps, grid.flatten(1, 2), "bilinear", padding_mode="zeros", align_corners=False
    )


def resample_averaged(maps: Tensor, slope: Tensor, start: Tensor, factor: int) -> Tensor:
    """Sample views of maps with supersampling.

    Each cell is the mean of `factor` x `factor` samples. Shapes: maps (N, C, H, W), slope and start
    as in `resample` -> (N, C, K, H, W).
    """
    height, width = (factor * length for length in maps.shape[2:])
    placed = resample(maps, slope, start, size=(height, width))
    return F.avg_pool2d(placed, factor).unflatten(2, (slope.shape[1], -1))


class ResampleByProducts(nn.Module):
    """Compute `resample_averaged` as two matrix products, equal up to rounding."""

    def __init__(self, height: int, width: int, factor: int) -> None:
        super().__init__()
        self.down = HatWeights(height, factor)
        self.across = HatWeights(width, factor)

    def forward(self, maps: Tensor, slope: Tensor, start: Tensor) -> Tensor:
        """Sample maps; slope and start are as in `resample`.

        (N, C, H, W) -> (N, C, K, H, W).
        """
        num_channels, height, width = maps.shape[1:]
        slopes, starts = slope.unbind(2), start.unbind(2)
        rows = self.down(slopes[0], starts[0])  # N K H h
        columns = self.across(slopes[1], starts[1])  # N K W w
        views = rows.flatten(1, 2) @ maps.transpose(1, 2).flatten(2)  # N (K H) (C w)
        views = views.view(-1, slope.shape[1], height * num_channels, width)
        views = views @ columns.transpose(2, 3)  # N K (H C) W
        return views.unflatten(2, (height, num_channels)).permute(0, 3, 1, 2, 4)


class HatWeights(nn.Module):
    """Compute the weights of an axis's cells in its views."""

    samples: Tensor
    """Positions of a view's samples relative to its middle, in cells, (factor * length,)."""
    cells: Tensor
    """Positions of the cells in the same units, (length,)."""

    def __init__(self, length: int, factor: int) -> None:
        super().__init__()
        self.length, self.factor = length, factor
        samples = (torch.arange(factor * length) + 0.5) / factor - length / 2
        self.register_buffer("samples", samples, persistent=False)
        self.register_buffer("cells", torch.arange(length) - (length - 1) / 2, persistent=False)

    def forward(self, slope: Tensor, start: Tensor) -> Tensor:
        """Compute weights for slope and start (N, K): (N, K, length, length).

        A view's cell is the mean of its `factor` samples, each interpolated linearly between the
        two nearest cells.
        """
        offset = start.unsqueeze(2) * (self.length / 2)
        places = torch.addcmul(offset, slope.unsqueeze(2), self.samples)  # N K (factor length)
        weights = hat(places, self.cells)
        return weights.unflatten(2, (self.length, self.factor)).mean(3)


def hat(places: Tensor, cells: Tensor) -> Tensor:
    """Compute relu(1 - |place - cell|).

    Places (...), cells (L,) -> (..., L).
    """
    return F.relu(1 - (places.unsqueeze(-1) - cells).abs())


def sample_reflected(maps: Tensor, places: Tensor) -> Tensor:
    """Sample maps bilinearly at any positions, mirrored beyond their borders.

    Shapes: maps (B, C, H, W), places (B, P, Q, 2), x before y, from -1 to 1 -> (B, C, P, Q).
    """
    return F.grid_sample(maps, places, "bilinear", padding_mode="reflection", align_corners=False)


def sample_reflected_by_products(maps: Tensor, places: Tensor) -> Tensor:
    """Compute `sample_reflected` as one matrix product, equal up to rounding."""
    height, width = maps.shape[2:]
    columns, rows = (
        hat(reflect(axis_places.flatten(1), length), torch.arange(length, device=maps.device))
        for axis_places, length in zip(places.unbind(3), (width, height), strict=True)
    )  # B (P Q) W, B (P Q) H
    weights = (rows.unsqueeze(3) * columns.unsqueeze(2)).flatten(2)  # B (P Q) (H W)
    return (maps.flatten(2) @ weights.transpose(1, 2)).unflatten(2, places.shape[1:3])


def reflect(places: Tensor, length: int) -> Tensor:
    """Convert positions from -1 to 1 to cells, mirrored at both borders.

    The outermost half cells have the value of the outermost cells, as in `F.grid_sample`.
    """
    from_border = (places + 1) * (length / 2) % (2 * length)
    return (length - (from_border - length).abs() - 0.5).clamp(0, length - 1)


def stretch(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps bilinearly, with aligned corners.

    (N, C, h, w) -> (N, C, *size).
    """
    return F.interpolate(maps, size, mode="bilinear", align_corners=True)


def stretch_by_products(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Compute `stretch` as two matrix products, equal up to rounding."""
    rows, columns = (
        hat(
            torch.linspace(0, cells - 1, length, device=maps.device, dtype=maps.dtype),
            torch.arange(cells, device=maps.device),
        )
        for cells, length in zip(maps.shape[2:], size, strict=True)
    )
    return rows @ maps @ columns.T
