"""Sampling by matrix products equals F.grid_sample, and so do its derivatives."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from t2vgan.models.coordinates import cell_centres
from t2vgan.models.resampling import (
    ResampleByProducts,
    resample,
    resample_averaged,
    sample_reflected,
    sample_reflected_by_products,
    stretch,
    stretch_by_products,
)


def grid(height: int, width: int) -> Tensor:
    """Return y, x and their product at every cell, (3, H, W)."""
    y, x = torch.meshgrid(cell_centres(height), cell_centres(width), indexing="ij")
    return torch.stack([y, x, x * y])


def test_resampled_maps_show_what_lies_elsewhere_and_nothing_outside():
    slope = torch.tensor([[[0.5, 0.25], [1.0, 0.5]]])  # N K 2
    start = torch.tensor([[[0.3, -0.2], [0.0, 0.0]]])
    seen = resample(grid(20, 30)[None], slope, start, size=(8, 10))[0]
    y, x, _ = grid(8, 10)
    for view, down, across in zip(
        seen.chunk(2, dim=1), (0.5 * y + 0.3, y), (0.25 * x - 0.2, 0.5 * x), strict=True
    ):
        torch.testing.assert_close(view, torch.stack([down, across, down * across]))
    beside = torch.tensor([[[0.0, 2.5]]])
    nothing = resample(torch.ones(1, 1, 4, 4), torch.ones_like(beside), beside, size=(4, 4))
    assert (nothing == 0).all()


def derivatives(compute: Callable[..., Tensor], *inputs: Tensor) -> list[Tensor]:
    """Return a function's value, its gradients, and the gradients of their squared norm."""
    torch.manual_seed(1)
    inputs = tuple(tensor.clone().requires_grad_() for tensor in inputs)
    value = compute(*inputs)
    weights = torch.randn(value.shape, dtype=value.dtype)
    loss = (value.square() * weights).sum()
    first = torch.autograd.grad(loss, inputs, create_graph=True)
    norm = sum((gradient.square().sum() for gradient in first), torch.zeros(()))
    second = torch.autograd.grad(norm, inputs)
    return [value, *first, *second]


def assert_same_derivatives(
    found: Callable[..., Tensor],
    expected: Callable[..., Tensor],
    *inputs: Tensor,
    tolerance: float = 1e-9,
) -> None:
    pairs = zip(derivatives(found, *inputs), derivatives(expected, *inputs), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs, atol=tolerance, rtol=tolerance)


# Centres of cells are kept in float32: with three samples a cell they are rounded.
@pytest.mark.parametrize(("factor", "tolerance"), [(1, 1e-9), (2, 1e-9), (3, 1e-4)])
def test_matrix_products_resample_as_the_grid_does(factor, tolerance):
    torch.manual_seed(0)
    maps = torch.randn(3, 4, 8, 16, dtype=torch.float64)
    slope = 0.3 + 3 * torch.rand(3, 5, 2, dtype=torch.float64)
    start = 1.5 * torch.randn(3, 5, 2, dtype=torch.float64)
    products = ResampleByProducts(8, 16, factor).double()
    assert products(maps, slope, start).shape == (3, 4, 5, 8, 16)
    assert_same_derivatives(
        products,
        lambda *args: resample_averaged(*args, factor),
        *(maps, slope, start),
        tolerance=tolerance,
    )


def test_matrix_products_resample_as_the_grid_does_in_float32():
    torch.manual_seed(0)
    maps, slope = torch.rand(3, 4, 64, 64), 0.5 + 3 * torch.rand(3, 5, 2)
    start = 0.5 * torch.randn(3, 5, 2)
    found = ResampleByProducts(64, 64, 2)(maps, slope, start)
    difference = found - resample_averaged(maps, slope, start, 2)
    assert difference.abs().max() < 2e-5  # places are rounded to 1e-6 of a frame
    assert difference.square().mean().sqrt() < 1e-6


def test_mirrored_places_by_a_matrix_product_are_those_of_the_grid():
    torch.manual_seed(0)
    maps = torch.randn(2, 3, 6, 10, dtype=torch.float64)
    places = 2 * torch.randn(2, 5, 7, 2, dtype=torch.float64)
    assert places.abs().max() > 3  # mirrored more than once
    assert_same_derivatives(sample_reflected_by_products, sample_reflected, maps, places)


def test_maps_stretched_by_matrix_products_are_those_of_interpolation():
    maps = torch.randn(2, 3, 4, 5, dtype=torch.float64)
    assert_same_derivatives(
        lambda maps: stretch_by_products(maps, (9, 16)), lambda maps: stretch(maps, (9, 16)), maps
    )


def test_tables_are_not_saved():
    assert not ResampleByProducts(4, 6, 2).state_dict()
