"""Coordinates of a frame's cells, in frames of reference that may move."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from t2vgan.models.casting import Linear, current_weights
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

    def make_table(self, length: int) -> Tensor:
        """Compute what `encode_axis` of these coordinates needs of an axis's cells."""
        raise NotImplementedError


class MovingCoordinates(Coordinates):
    """Compute the position and zoom of each frame's references from its code.

    A network that sees only fixed coordinates must redraw an object to move it; here it moves the
    reference (StyleGAN3, Karras et al., NeurIPS 2021, section 3.2). Two objects, two references.
    """

    MAX_SHIFT = 1.5  # half frames: objects may leave
    MAX_ZOOM = 2.0

    def __init__(self, *, code_size: int, num_references: int) -> None:
        super().__init__(num_references)
        self.to_reference = Linear(code_size, 3 * num_references)

    def forward(self, code: Tensor) -> "Reference":
        """Compute the frames of reference of codes (N, E)."""
        reference = self.to_reference(code).tanh().view(code.shape[0], 1, self.num_references, 3)
        zoom, shift = reference.split((1, 2), dim=3)
        zoom = self.MAX_ZOOM**zoom  # N 1 R 1
        shift = self.MAX_SHIFT * shift  # N 1 R 2, y before x
        return Reference(zoom, shift.split(1, dim=3), self.frequencies)

    def make_table(self, length: int) -> Tensor:
        """Return the cells' centres, (length, 1, 1)."""
        return cell_centres(length)[:, None, None]


class FixedCoordinates(Coordinates):
    """Use the frame itself as the only frame of reference.

    This is for what is drawn once and moved afterwards.
    """

    def __init__(self) -> None:
        super().__init__(num_references=1)

    def forward(self, code: Tensor) -> "FixedReference":
        """Return one frame of reference for all codes."""
        return FixedReference()

    def make_table(self, length: int) -> Tensor:
        """Compute the features of an axis's cells, (1, length, size / 2)."""
        return encode_places(cell_centres(length)[None, :, None, None], self.frequencies)


class Reference(NamedTuple):
    """Frames of reference of N images."""

    zoom: Tensor
    shift: tuple[Tensor, ...]
    """(N, 1, R, 1) of both axes, y before x."""
    frequencies: Tensor

    @property
    def num_references(self) -> int:
        return self.zoom.shape[2]

    def encode_axis(self, axis: int, cells: Tensor) -> Tensor:
        """Compute features of an axis's cells; 0 is y, 1 is x.

        Cells (length, 1, 1) -> (N, length, size / 2).
        """
        return encode_places((cells - self.shift[axis]) * self.zoom, self.frequencies)


class FixedReference:
    """The frame itself, the same for all images."""

    num_references = 1

    def encode_axis(self, axis: int, features: Tensor) -> Tensor:
        """Return the features of an axis's cells, (1, length, size / 2)."""
        return features


class PlaceEmbedding(Linear):
    """Map the coordinates of a grid's cells linearly.

    Each feature belongs to one axis, so rows and columns are mapped apart and then added: far less
    work than mapping every cell, with the same weights.
    """

    down: Tensor
    across: Tensor

    def __init__(self, coordinates: Coordinates, channels: int, *, rows: int, columns: int) -> None:
        super().__init__(coordinates.size, channels)
        self.register_buffer("down", coordinates.make_table(rows), persistent=False)
        self.register_buffer("across", coordinates.make_table(columns), persistent=False)

    def forward(self, reference: Reference | FixedReference) -> Tensor:  # type: ignore[override]
        """Embed the cells of N images: (N, C, rows, columns).

        N is 1 where the reference is the same for all.
        """
        num_references = reference.num_references
        weight, bias = current_weights(self)
        by_axis = rearrange(weight, "c (r a f) -> a c (r f)", a=2, r=num_references)
        weight_down, weight_across = by_axis.unbind()
        down = F.linear(reference.encode_axis(0, self.down), weight_down, bias)  # N h C
        across = F.linear(reference.encode_axis(1, self.across), weight_across)  # N w C
        return channels_first(down.unsqueeze(2) + across.unsqueeze(1))


def encode_places(places: Tensor, frequencies: Tensor) -> Tensor:
    """Encode places as sines and cosines.

    Places (N, l, R, 1) -> (N, l, R * 2 * F).
    """
    angles = places * frequencies  # N l R F
    return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(2)


def cell_centres(length: int) -> Tensor:
    """Compute the centres of an axis's cells, (length,), from -1 to 1."""
    return (torch.arange(length) + 0.5) / length * 2 - 1
