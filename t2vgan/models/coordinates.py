"""Coordinates of a frame's cells, in frames of reference that may move."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from t2vgan.models.casting import Linear, current_weights
from t2vgan.models.layers import channels_first, make_waves

FREQUENCIES = (0.5, 1.0, 2.0, 4.0)  # in half periods per frame
MAX_SHIFT = 1.5  # in half frames: objects may leave the frame
MAX_ZOOM = 2.0


class MovingCoordinates(nn.Module):
    """Compute the position and zoom of each frame's frames of reference.

    A network with fixed coordinates only must redraw an object to move it; here it moves a frame of
    reference (StyleGAN3, Karras et al., NeurIPS 2021, section 3.2), one for each object.
    """

    def __init__(self, *, code_size: int, num_references: int) -> None:
        super().__init__()
        self.to_reference = nn.Linear(code_size, 3 * num_references)

    def forward(self, reference: Tensor) -> Tensor:
        """Compute frames of reference from the output of `to_reference`, (N, 3R).

        Each consists of its zoom, and its zoom times its shift, y before x, in units of MAX_SHIFT.
        """
        zoom, shift = reference.tanh().unflatten(1, (-1, 3)).split((1, 2), dim=2)  # N R 1, N R 2
        zoom = MAX_ZOOM**zoom
        return torch.cat([zoom, zoom * shift], dim=2).flatten(1)


class PlaceEmbedding(Linear):
    """Map the coordinates of a grid's cells linearly.

    They are sines and cosines along both axes, for each frame of reference. Every feature depends
    on one axis, so rows and columns are mapped separately and then added, with the same weights and
    far less work than mapping every cell.
    """

    angles: Tensor
    """Linear map from zooms and shifts to the features' angles,
    (3R, (rows + columns) * in_features). Features of a row's other axis have angle 0, thus sine 0.
    """
    phases: Tensor
    """((rows + columns) * in_features,)."""
    still: Tensor
    """Features for the frame itself as reference, (1, rows + columns, in_features)."""

    def __init__(self, channels: int, *, rows: int, columns: int, num_references: int = 1) -> None:
        super().__init__(num_references * 2 * 2 * len(FREQUENCIES), channels)
        self.sizes = (rows, columns)
        frequencies, phases = make_waves(FREQUENCIES)
        frequencies = frequencies * (math.pi / 2)
        by_part = torch.zeros(rows + columns, 3, 2, len(phases))  # zoom, shift; axis; waves
        by_part[:rows, 0, 0] = cell_centres(rows)[:, None] * frequencies
        by_part[rows:, 0, 1] = cell_centres(columns)[:, None] * frequencies
        by_part[:rows, 1, 0] = by_part[rows:, 2, 1] = -MAX_SHIFT * frequencies
        of_axes = torch.zeros(rows + columns, num_references, 2, len(phases))
        of_axes[:rows, :, 0] = of_axes[rows:, :, 1] = phases
        own = torch.eye(num_references)
        angles = torch.einsum("lkaf,rs->rklsaf", by_part, own)
        self.register_buffer("angles", angles.flatten(2).flatten(0, 1), persistent=False)
        self.register_buffer("phases", of_axes.flatten(), persistent=False)
        still = (by_part[:, 0] + of_axes[:, 0]).flatten(1).sin()
        self.register_buffer("still", still.unsqueeze(0), persistent=False)

    def forward(self, references: Tensor | None = None) -> Tensor:
        """Embed the cells of N images: (N, C, rows, columns).

        references (N, 3R) are those of `MovingCoordinates`; without them the frame itself is the
        reference, and N is 1.
        """
        weight, bias = current_weights(self)
        features = self.still if references is None else self.encode(references)
        mapped = F.linear(features, weight, bias / 2)  # N rows+columns C
        down, across = mapped.split(self.sizes, dim=1)
        return channels_first(down.unsqueeze(2) + across.unsqueeze(1))

    def encode(self, references: Tensor) -> Tensor:
        """Compute features of rows and columns: (N, rows + columns, in_features)."""
        with torch.autocast(references.device.type, enabled=False):  # bfloat16: positions jitter
            angles = torch.addmm(self.phases, references, self.angles)
        return angles.sin().unflatten(1, (sum(self.sizes), -1))


def cell_centres(length: int) -> Tensor:
    """Compute the centres (length,) of an axis's cells, within -1 to 1."""
    return (torch.arange(length) + 0.5) / length * 2 - 1
