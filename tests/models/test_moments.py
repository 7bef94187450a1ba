"""Moments of feature maps, and how they change within a clip."""

import pytest
import torch
from torch import nn

from t2vgan.models.moments import MomentChanges, subtract_line

C, K, H, W = 2, 4, 8, 12
TIMES = torch.tensor([[0.0, 0.1, 0.4, 1.0]])


def read_changes(maps):
    """Return the changes as they enter the layer, (2 kinds, K, C, 3)."""
    encode = MomentChanges(channels=C, frames_per_clip=K, hidden_size=2 * K * C * 3, grid=(H, W))
    nn.init.eye_(encode.linear.weight)
    nn.init.constant_(encode.linear.bias, 40.0)  # far above 0, where SiLU is the identity
    return (encode(maps, TIMES) - 40).view(2, K, C, 3)


def draw_square(x, y, side=2.0):
    """Draw an antialiased square at a place in cells, (1, H, W)."""
    rows, columns = (
        (torch.arange(length) + 0.5 - centre).abs().neg().add(side / 2 + 0.5).clamp(0, 1)
        for length, centre in ((H, y), (W, x))
    )
    return (rows[:, None] * columns).unsqueeze(0)


def test_a_still_clip_has_no_changes():
    maps = torch.randn(1, C, H, W).repeat(K, 1, 1, 1)

    assert read_changes(maps).abs().max() < 1e-3


def test_even_motion_changes_the_centre_along_a_line_only():
    maps = torch.cat([draw_square(3 + 5 * t, 4 - t) for t in TIMES[0].tolist()])
    changes, beside_line = read_changes(maps.unsqueeze(1).repeat(1, C, 1, 1))

    area = 4 / (H * W)  # of the frame, which is 2 wide
    from_mean = TIMES[0] - TIMES.mean()
    assert torch.allclose(changes[..., 0], torch.zeros(K, C), atol=1e-3)
    expected = (100 * area * from_mean * 5 * 2 / W).asinh()
    assert torch.allclose(changes[:, 0, 1], expected, atol=1e-3)
    expected = (100 * area * from_mean * -1 * 2 / H).asinh()
    assert torch.allclose(changes[:, 0, 2], expected, atol=1e-3)
    assert beside_line.abs().max() < 1e-3


@pytest.mark.parametrize("shift", [0.1, 0.5])
def test_a_small_part_of_a_cell_beside_the_line_shows(shift):
    places = [3 + 5 * t for t in TIMES[0].tolist()]
    places[1] += shift
    maps = torch.cat([draw_square(x, 4) for x in places]).unsqueeze(1).repeat(1, C, 1, 1)
    _, beside_line = read_changes(maps)

    aside = torch.tensor([0, shift, 0, 0]) - shift / K
    aside = subtract_line(aside[None, :, None], TIMES).flatten()
    expected = (100 * 4 / (H * W) * 2 / W * aside).asinh()
    assert torch.allclose(beside_line[:, 0, 1], expected, atol=1e-3)
    assert expected.abs().max() > shift / 4
    assert beside_line[..., [0, 2]].abs().max() < 1e-3


def test_an_area_that_trembles_shows():
    maps = torch.cat([draw_square(5, 4, side) for side in (2, 2.1, 2, 2)])
    changes, _ = read_changes(maps.unsqueeze(1).repeat(1, C, 1, 1))

    areas = torch.tensor([4, 4.41, 4, 4]) / (H * W)
    assert torch.allclose(changes[:, 0, 0], (100 * (areas - areas.mean())).asinh(), atol=1e-3)


def test_a_line_is_subtracted_by_least_squares():
    changes = torch.randn(3, K, 5, dtype=torch.float64)
    changes -= changes.mean(1, keepdim=True)
    times = torch.rand(3, K, dtype=torch.float64)
    rest = subtract_line(changes, times)

    design = torch.stack([times, torch.ones_like(times)], dim=2)
    expected = changes - design @ torch.linalg.lstsq(design, changes).solution
    assert torch.allclose(rest, expected, atol=1e-9)


def test_equal_times_have_no_line():
    changes = torch.randn(1, K, 5)

    assert torch.equal(subtract_line(changes, torch.ones(1, K)), changes)
