"""The correlation layer finds displacements, and the discriminator's motion features use them."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from t2vgan.models.motion import MotionTrunk, correlate, correlate_rows

REACH = (2, 3)


def textures(*shape: int) -> Tensor:
    """Return random unit vectors, (N, h, w, C)."""
    return F.normalize(torch.randn(*shape), dim=-1)


def test_correlation_is_the_inner_product_with_each_displaced_cell():
    first, second = torch.randn(2, 3, 6, 4), torch.randn(2, 3, 6, 4)
    found = correlate_rows(first, second, 2)
    expected = torch.zeros(2, 3, 6, 5)
    for cell in range(6):
        for column, other in enumerate(range(cell - 2, cell + 3)):
            if 0 <= other < 6:
                expected[:, :, cell, column] = (first[:, :, cell] * second[:, :, other]).sum(-1)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("down", "across"), [(1, 0), (-2, 0), (0, 3), (0, -1), (0, 0)])
def test_correlation_peaks_where_a_texture_went(down, across):
    here = textures(1, 8, 8, 32)
    there = here.roll((down, across), dims=(1, 2))
    rows, columns = correlate(here, there, REACH)
    for matches, reach, moved, still in (
        (rows, REACH[0], down, across == 0),
        (columns, REACH[1], across, down == 0),
    ):
        matches = matches[0, 3:5, 3:5]  # cells that stay inside
        if still:
            assert (matches.argmax(2) == reach + moved).all()
            torch.testing.assert_close(matches.amax(2), torch.ones(2, 2))
        else:
            assert matches.max() < 0.9


def test_correlation_has_second_derivatives():
    first = torch.randn(1, 2, 4, 3, dtype=torch.double, requires_grad=True)
    second = torch.randn(1, 2, 4, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda a, b: correlate(a, b, (1, 1)), (first, second))


def test_the_same_pictures_in_the_other_order_have_other_features():
    torch.manual_seed(0)
    trunk = MotionTrunk(channels=8, match_channels=4, hidden_size=16, grid=(8, 12))
    assert trunk.reach == (2, 3), "a quarter of the frame"
    maps = torch.randn(2, 3, 8, 8, 12)
    times = torch.tensor([[0.0, 0.1, 0.2]]).expand(2, -1)
    features = trunk(maps, times)
    assert features.shape == (2, 2, 16)
    assert not torch.allclose(features, trunk(maps.flip(1), times).flip(1))
    # A pair does not depend on the other frames.
    torch.testing.assert_close(features[:, :1], trunk(maps[:, :2], times[:, :2]))
