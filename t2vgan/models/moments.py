"""Moments of feature maps: areas and centres of what a frame shows."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2vgan.models.coordinates import cell_centres
from t2vgan.models.layers import channels_last, to_float32


class MomentChanges(nn.Module):
    """Encode how the moments of a clip's maps change over its frames.

    Moments are averages over the frame, of a map itself and of its products with x and y: an
    object's area, and its position times its area. They are exact to a small fraction of a pixel,
    unlike strided convolutions. Half a pixel changes them by a few thousandths, which other
    features would drown, so small changes are amplified and large ones compressed. Changes are
    given twice: from the clip's mean, and from the straight line through it, which an object in
    uniform motion follows (dev/LOG.md).
    """

    GAIN = 100.0
    NUM_MOMENTS = 3
    weights: Tensor
    """Weights of a frame's cells in each moment, (h*w, 3)."""

    def __init__(
        self, *, channels: int, frames_per_clip: int, hidden_size: int, grid: tuple[int, int]
    ) -> None:
        super().__init__()
        y, x = torch.meshgrid(*map(cell_centres, grid), indexing="ij")
        weights = torch.stack([torch.ones_like(x), x, y], dim=2).flatten(0, 1) / x.numel()
        self.register_buffer("weights", weights, persistent=False)
        num_inputs = 2 * frames_per_clip * self.NUM_MOMENTS * channels
        self.linear = nn.Linear(num_inputs, hidden_size)

    def forward(self, maps: Tensor, times: Tensor) -> Tensor:
        """Encode maps (B*K, C, h, w) at times (B, K): (B, hidden)."""
        cells = channels_last(to_float32(maps)).flatten(1, 2)  # (B K) h*w C
        moments = (self.weights.T @ cells).transpose(1, 2).flatten(1)  # (B K) C*3
        changes = subtract_mean(moments.unflatten(0, times.shape))
        changes = torch.cat([changes, subtract_line(changes, times)], dim=1)  # B 2K 3C
        return F.silu(self.linear((self.GAIN * changes).asinh().flatten(1)))


def subtract_mean(values: Tensor) -> Tensor:
    """Subtract the mean over dimension 1."""
    return values - values.mean(1, keepdim=True)


def subtract_line(changes: Tensor, times: Tensor) -> Tensor:
    """Subtract the least-squares line over time from values of mean 0.

    changes (B, K, C), times (B, K) -> (B, K, C).
    """
    times = subtract_mean(times).unsqueeze(2)  # B K 1
    slopes = times.transpose(1, 2) @ changes / times.square().sum(1, keepdim=True).clamp(min=1e-6)
    return torch.baddbmm(changes, times, slopes, alpha=-1)
