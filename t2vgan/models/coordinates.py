"""Coordinates of a frame's cells, in frames of reference that may move."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from t2vgan.models.layers import channels_first


class Coordinates(nn.Module):
    """Hold what all frames of reference share: their number and frequencies."""

    FREQUENCIES = (0.5, 1.0, 2.0, 4.0)
    frequencies: Tensor

    def __init__(self, num_references: int) -> None:
        super().__init__()
        self.num_references = num_references
        frequencies = torch.tensor(self.FREQUENCIES) * (math.pi / 2)
        self.register_buffer("frequencies", frequencies, persistent=False)

    @property
    def size(self) -> int:
        """Features of a cell: sine and cosine of two axes per reference."""
        return self.num_references * 2 * 2 * len(self.FREQUENCIES)


class MovingCoordinates(Coordinates):
    """Compute the position and zoom of each frame's references from its code.

    A network that sees only fixed coordinates must redraw an object to move it; here it moves the
    reference (StyleGAN3, Karras et al., NeurIPS 2021, section 3.2). Two objects, two references.
    """

    MAX_SHIFT = 1.5  # half frames: objects may leave
    MAX_ZOOM = 2.0

    def __init__(self, *, code_size: int, num_references: int) -> None:
        super().__init__(num_references)
        self.to_reference = nn.Linear(code_size, 3 * num_references)

    def forward(self, code: Tensor) -> "Reference":
        """Compute the frames of reference of codes (N, E)."""
        reference = self.to_reference(code).tanh().view(code.shape[0], 1, self.num_references, 3)
        zoom = self.MAX_ZOOM ** reference[..., :1]  # N 1 R 1
        shift = self.MAX_SHIFT * reference[..., 1:]  # N 1 R 2, y before x
        return Reference(zoom, shift, self.frequencies)


class FixedCoordinates(Coordinates):
    """Use the frame itself as the only frame of reference.

    This is for what is drawn once and moved afterwards.
    """

    def __init__(self) -> None:
        super().__init__(num_references=1)

    def forward(self, code: Tensor) -> "Reference":
        """Return one frame of reference for all codes."""
        one = torch.ones(1, 1, 1, 1, device=self.frequencies.device)
        return Reference(one, torch.zeros_like(one).expand(-1, -1, -1, 2), self.frequencies)


class Reference(NamedTuple):
    """Frames of reference of N images."""

    zoom: Tensor
    shift: Tensor
    frequencies: Tensor

    def encode_axis(self, axis: int, length: int) -> Tensor:
        """Compute features (N, length, size / 2) of an axis's cells.

        Axis 0 is y, 1 is x.
        """
        cells = cell_centres(length, self.zoom.device)
        places = (cells[:, None, None] - self.shift[..., axis : axis + 1]) * self.zoom  # N l R 1
        angles = places * self.frequencies  # N l R F
        return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(2)


class PlaceEmbedding(nn.Linear):
    """Map every cell's coordinates linearly.

    Each feature belongs to one axis, so rows and columns are mapped apart and then added: far less
    work than mapping every cell, with the same weights.
    """

    def forward(self, reference: Reference, rows: int, columns: int) -> Tensor:  # type: ignore[override]
        """Embed the cells of N images: (N, C, rows, columns)."""
        by_axis = rearrange(self.weight, "c (r a f) -> a c (r f)", a=2, r=reference.zoom.shape[2])
        down = F.linear(reference.encode_axis(0, rows), by_axis[0], self.bias)  # N h C
        across = F.linear(reference.encode_axis(1, columns), by_axis[1])  # N w C
        return channels_first(down.unsqueeze(2) + across.unsqueeze(1))


def cell_centres(length: int, device: torch.device) -> Tensor:
    """Compute the centres of an axis's cells, (length,), from -1 to 1."""
    return (torch.arange(length, device=device) + 0.5) / length * 2 - 1
