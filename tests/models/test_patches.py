"""Patches keep their place; layers at full resolution start at zero."""

import pytest
import torch
from torch import nn

from t2vgan.models.coordinates import MovingCoordinates
from t2vgan.models.patches import FromPixels, ToPixels, cosine_basis, join_patches, split_patches


def test_patches_join_to_what_was_split_and_keep_their_place():
    video = torch.randn(2, 3, 5, 8, 12)
    patches = split_patches(video, 4)
    assert patches.shape == (10, 2, 3, 48)
    torch.testing.assert_close(join_patches(patches, 4, num_frames=5), video)
    corner = video[1, :, 2, 4:8, 8:12].flatten()  # clip 1, frame 2, patch (1, 2)
    torch.testing.assert_close(patches[1 * 5 + 2, 1, 2], corner)


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
    layer = ToPixels(4, 5, pixel_channels=2, num_references=1, grid=(2, 3), code_size=3)
    code, maps = torch.randn(6, 3), torch.randn(6, 5, 2, 3)
    inputs = maps, coordinates(code), layer.block.modulation(code)
    video = layer(*inputs, num_frames=3)
    assert video.shape == (2, 3, 3, 8, 12)
    assert video.abs().max() == 0
    nn.init.normal_(layer.to_colours.weight)
    assert layer(*inputs, num_frames=3).flatten(3).std(-1).min() > 0


@pytest.mark.parametrize("patch_size", [2, 4])
def test_a_pixel_reaches_the_patch_it_is_in(patch_size):
    torch.manual_seed(0)
    layer = FromPixels(patch_size, 5, pixel_channels=3)
    video = torch.zeros(1, 3, 2, 8 * patch_size, 4 * patch_size)
    before = layer(video)
    assert before.shape == (2, 5, 8, 4)
    video[0, 0, 1, 3 * patch_size + 1, 2 * patch_size + 1] = 1
    changed = (layer(video) - before).abs().sum(1) > 1e-6
    assert changed[1, 3, 2]
    assert not changed[0].any()
    assert not changed[1, 5:].any()
