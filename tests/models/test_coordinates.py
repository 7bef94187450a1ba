"""Coordinates move with their frame of reference."""

import math

import torch
from torch import nn

from t2vgan.models.coordinates import FixedCoordinates, MovingCoordinates, PlaceEmbedding, Reference


def test_moving_a_reference_moves_the_waves_with_it():
    coordinates = MovingCoordinates(code_size=1, num_references=1)
    with torch.no_grad():
        coordinates.to_reference.weight.zero_()
        coordinates.to_reference.bias.zero_()
        still = coordinates(torch.zeros(1, 1))
        shift = 2 * 2 / 8  # two cells of eight, in half frames
        coordinates.to_reference.bias[2] = math.atanh(shift / coordinates.MAX_SHIFT)
        moved = coordinates(torch.zeros(1, 1))
    cells = coordinates.make_table(8)
    across, before = moved.encode_axis(1, cells), still.encode_axis(1, cells)
    torch.testing.assert_close(across[:, 2:], before[:, :-2])  # to the right
    torch.testing.assert_close(moved.encode_axis(0, cells), still.encode_axis(0, cells))  # not down


def test_places_mapped_by_axis_are_places_mapped_cell_by_cell():
    torch.manual_seed(0)
    coordinates = MovingCoordinates(code_size=3, num_references=2)
    rows, columns, num_waves = 5, 7, 2 * len(MovingCoordinates.FREQUENCIES)
    embedding = PlaceEmbedding(coordinates, 4, rows=rows, columns=columns)
    reference = coordinates(torch.randn(2, 3))
    by_axis = [
        reference.encode_axis(axis, coordinates.make_table(length)).view(
            2, length, 2, num_waves
        )  # N l R F
        for axis, length in enumerate((rows, columns))
    ]
    down = by_axis[0][:, :, None].expand(-1, -1, columns, -1, -1)
    across = by_axis[1][:, None].expand(-1, rows, -1, -1, -1)
    cells = torch.stack([down, across], dim=4).flatten(3)  # N h w (R axis F)
    every_cell = nn.functional.linear(cells, embedding.weight, embedding.bias)
    torch.testing.assert_close(embedding(reference), every_cell.permute(0, 3, 1, 2))


def test_the_frame_itself_is_a_reference_that_never_moves():
    torch.manual_seed(0)
    fixed = FixedCoordinates()
    still = Reference(torch.ones(1, 1, 1, 1), (torch.zeros(1, 1, 1, 1),) * 2, fixed.frequencies)
    moving = MovingCoordinates(code_size=3, num_references=1)
    for axis in (0, 1):
        expected = still.encode_axis(axis, moving.make_table(6))
        assert torch.equal(
            fixed(torch.randn(4, 3)).encode_axis(axis, fixed.make_table(6)), expected
        )


def test_tables_are_not_saved():
    embedding = PlaceEmbedding(FixedCoordinates(), 4, rows=3, columns=5)
    assert embedding.state_dict().keys() == {"weight", "bias"}
