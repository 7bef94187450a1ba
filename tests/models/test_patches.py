"""Patches keep their place; layers at full resolution start at zero."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from t2vgan.errors import UserError
from t2vgan.models.coordinates import MovingCoordinates
from t2vgan.models.patches import (
    FromPatches,
    FromPixels,
    Smoothing,
    ToPatches,
    ToPixels,
    compute_grid,
    cosine_basis,
    draw_patches,
)


def test_patches_keep_their_place():
    torch.manual_seed(0)
    embed, draw = FromPatches(4, 48), ToPatches(4, 48, nn.Identity())
    for layer in (embed, draw):
        layer.basis.copy_(torch.eye(16))
        nn.init.eye_(layer.linear.weight)
        nn.init.zeros_(layer.linear.bias)
    frames = torch.randn(2, 3, 8, 12)
    maps = embed(frames)
    assert maps.shape == (2, 48, 2, 3)
    torch.testing.assert_close(maps[1, :, 1, 2], frames[1, :, 4:8, 8:12].flatten())
    torch.testing.assert_close(draw(maps), frames)


@pytest.mark.parametrize(("height", "nearest"), [(8, 16), (16, None), (47, 32), (48, None)])
def test_sides_are_multiples_of_four_patches(height, nearest):
    if nearest is None:
        assert compute_grid(4, height, 32) == (height // 4, 8)
    else:
        with pytest.raises(UserError, match=f"build shards with height {nearest}, "):
            compute_grid(4, height, 32)


def test_patches_of_pixels_with_gradients_are_the_same():
    """Of such pixels they are a product instead of a convolution."""
    torch.manual_seed(0)
    embed = FromPatches(4, 5).double()
    frames = torch.randn(2, 3, 8, 12, dtype=torch.float64)
    convolved = embed(frames)
    multiplied = embed(frames.requires_grad_())
    torch.testing.assert_close(multiplied, convolved)
    assert torch.autograd.gradcheck(embed, frames)


def test_drawing_is_a_convolution_and_a_pixel_shuffle():
    torch.manual_seed(0)
    maps, weight, bias = torch.randn(2, 7, 3, 5), torch.randn(6, 4, 7), torch.randn(6, 4)
    patches = F.conv2d(maps, weight.flatten(0, 1)[..., None, None], bias.flatten())
    frames = draw_patches(maps, weight, bias, 2)
    torch.testing.assert_close(frames, F.pixel_shuffle(patches, 2))
    assert frames.is_contiguous(memory_format=torch.channels_last)


def test_the_cosine_basis_is_orthogonal_and_damped():
    basis = cosine_basis(4)
    assert basis.shape == (16, 16)
    products = basis @ basis.T
    damping = torch.tensor([1 / (1 + u + v) for u in range(4) for v in range(4)])
    torch.testing.assert_close(products, torch.diag(damping.square()))
    torch.testing.assert_close(basis[0], torch.full((16,), 0.25))  # the mean


def test_layers_at_full_resolution_start_at_zero_and_can_learn():
    torch.manual_seed(0)
    coordinates = MovingCoordinates(code_size=3, num_references=1)
    layer = ToPixels(
        4, 5, nn.Identity(), pixel_channels=2, num_references=1, grid=(2, 3), code_size=3
    )
    code, maps = torch.randn(6, 3), torch.randn(6, 5, 2, 3)
    inputs = maps, coordinates(code), layer.block.modulation(code).chunk(2, dim=1)
    frames = layer(*inputs)
    assert frames.shape == (6, 3, 8, 12)
    assert frames.abs().max() == 0
    nn.init.normal_(layer.to_colours.weight)
    drawn = layer(*inputs)
    assert drawn.flatten(2).std(-1).min() > 0
    assert not torch.allclose(layer(maps, coordinates(code.flip(0)), inputs[2]), drawn)


@pytest.mark.parametrize("patch_size", [2, 4])
def test_a_pixel_reaches_the_patch_it_is_in(patch_size):
    torch.manual_seed(0)
    layer = FromPixels(patch_size, 5, pixel_channels=3)
    frames = torch.zeros(2, 3, 8 * patch_size, 4 * patch_size)
    before = layer(frames)
    assert before.shape == (2, 5, 8, 4)
    frames[1, 0, 3 * patch_size + 1, 2 * patch_size + 1] = 1
    changed = (layer(frames) - before).abs().sum(1) > 1e-6
    assert changed[1, 3, 2]
    assert not changed[0].any()
    assert not changed[1, 5:].any()


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_smoothing_levels_a_grid_of_patches_and_keeps_a_plane(size):
    torch.manual_seed(0)
    smoothing = Smoothing(size, (5, 6))
    grid = torch.randn(2, 3, size, size).repeat(1, 1, 5, 6)
    level = grid.mean((2, 3), keepdim=True)
    inside = slice(size // 2, -(size // 2) or None)
    smoothed = smoothing(grid)[:, :, inside, inside]
    torch.testing.assert_close(smoothed, level.expand_as(smoothed))
    rows, columns = torch.arange(5.0 * size)[:, None], torch.arange(6.0 * size)
    plane = (2 * rows - columns).expand(1, 3, -1, -1)
    torch.testing.assert_close(smoothing(plane)[:, :, inside, inside], plane[:, :, inside, inside])
    white = torch.ones(1, 1, 5 * size, 6 * size)
    torch.testing.assert_close(smoothing(white), white)  # at the borders too


def test_smooth_patches_show_no_grid_where_all_cells_are_alike():
    torch.manual_seed(0)
    maps = torch.randn(1, 5, 1, 1).expand(-1, -1, 4, 4)
    for smoothing, is_even in ((nn.Identity(), False), (Smoothing(2, (4, 4)), True)):
        frames = ToPatches(2, 5, smoothing)(maps)[:, :, 1:-1, 1:-1]
        assert frames.std((2, 3)).max().item() < 1e-6 or not is_even
        assert is_even or frames.std((2, 3)).min() > 1e-3
