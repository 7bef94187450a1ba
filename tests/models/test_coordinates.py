"""Coordinates move with their frame of reference."""

import math

import torch
from torch import nn

from t2vgan.models.coordinates import MovingCoordinates, PlaceEmbedding


def test_moving_a_reference_moves_the_waves_with_it():
    coordinates = MovingCoordinates(code_size=1, num_references=1)
    with torch.no_grad():
        coordinates.to_reference.weight.zero_()
        coordinates.to_reference.bias.zero_()
        still = coordinates(torch.zeros(1, 1))
        shift = 2 * 2 / 8  # two cells of eight, in half frames
        coordinates.to_reference.bias[2] = math.atanh(shift / coordinates.MAX_SHIFT)
        moved = coordinates(torch.zeros(1, 1))
    across, before = moved.encode_axis(1, 8), still.encode_axis(1, 8)
    torch.testing.assert_close(across[:, 2:], before[:, :-2])  # to the right
    torch.testing.assert_close(moved.encode_axis(0, 8), still.encode_axis(0, 8))  # not down


def test_places_mapped_by_axis_are_places_mapped_cell_by_cell():
    torch.manual_seed(0)
    coordinates = MovingCoordinates(code_size=3, num_references=2)
    embedding = PlaceEmbedding(coordinates.size, 4)
    reference = coordinates(torch.randn(2, 3))
    rows, columns, num_waves = 5, 7, 2 * len(MovingCoordinates.FREQUENCIES)
    by_axis = [
        reference.encode_axis(axis, length).view(2, length, 2, num_waves)  # N l R F
        for axis, length in enumerate((rows, columns))
    ]
    down = by_axis[0][:, :, None].expand(-1, -1, columns, -1, -1)
    across = by_axis[1][:, None].expand(-1, rows, -1, -1, -1)
    cells = torch.stack([down, across], dim=4).flatten(3)  # N h w (R axis F)
    every_cell = nn.functional.linear(cells, embedding.weight, embedding.bias)
    torch.testing.assert_close(embedding(reference, rows, columns), every_cell.permute(0, 3, 1, 2))
