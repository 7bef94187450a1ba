"""Coordinates move with their frame of reference."""

import math

import torch
from torch import Tensor, nn

from t2vgan.models.coordinates import (
    FREQUENCIES,
    MAX_SHIFT,
    MAX_ZOOM,
    MovingCoordinates,
    PlaceEmbedding,
    cell_centres,
)


def test_moving_a_reference_moves_the_waves_with_it():
    coordinates = MovingCoordinates(code_size=1, num_references=1)
    shift = 2 * 2 / 8  # two cells of eight, in half frames
    still, moved = torch.zeros(2, 1, 3)
    moved[0, 2] = math.atanh(shift / MAX_SHIFT)
    embedding = PlaceEmbedding(4, rows=8, columns=8)
    before, after = (embedding.encode(coordinates(each)) for each in (still, moved))
    torch.testing.assert_close(after[:, 10:], before[:, 8:-2])  # to the right
    assert torch.equal(after[:, :8], before[:, :8])  # not down


def encode_places(places: Tensor) -> Tensor:
    """Encode places (N, l, R) as sines and cosines: (N, l, R, 2F)."""
    angles = places.unsqueeze(3) * torch.tensor(FREQUENCIES) * (math.pi / 2)
    return torch.cat([angles.sin(), angles.cos()], dim=3)


def test_places_mapped_by_axis_are_places_mapped_cell_by_cell():
    torch.manual_seed(0)
    coordinates, rows, columns = MovingCoordinates(code_size=3, num_references=2), 5, 7
    embedding = PlaceEmbedding(4, rows=rows, columns=columns, num_references=2)
    raw = torch.randn(2, 6)
    zoom, *shifts = raw.tanh().view(2, 1, 2, 3).unbind(3)  # N 1 R
    zoom = MAX_ZOOM**zoom
    by_axis = [
        encode_places((cell_centres(length)[:, None] - MAX_SHIFT * shift) * zoom)
        for length, shift in zip((rows, columns), shifts, strict=True)
    ]
    down = by_axis[0][:, :, None].expand(-1, -1, columns, -1, -1)
    across = by_axis[1][:, None].expand(-1, rows, -1, -1, -1)
    cells = torch.stack([down, across], dim=4).flatten(3)  # N h w (R axis F)
    every_cell = nn.functional.linear(cells, embedding.weight, embedding.bias)
    found = embedding(coordinates(raw))
    torch.testing.assert_close(found, every_cell.permute(0, 3, 1, 2), rtol=1e-5, atol=1e-5)


def test_the_frame_itself_is_a_reference_that_never_moves():
    embedding = PlaceEmbedding(4, rows=6, columns=5)
    still = MovingCoordinates(code_size=3, num_references=1)(torch.zeros(1, 3))
    assert torch.equal(embedding(), embedding(still))


def test_tables_are_not_saved():
    embedding = PlaceEmbedding(4, rows=3, columns=5)
    assert embedding.state_dict().keys() == {"weight", "bias"}
