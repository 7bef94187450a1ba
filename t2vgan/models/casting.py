"""Copies of weights in the type of autocast, made in one call.

Autocast converts a weight at every use, and its gradient back: in a small network this is every
fifth kernel. The layers here use copies instead, which one call makes for a whole network. The
gradients of the copies are added to those of the weights, so that all values are the same.
"""

from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, is_autocast_enabled, nn

Weights: TypeAlias = tuple[Tensor, Tensor]
"""Weight and bias of a layer."""


class Linear(nn.Linear):
    """A linear layer that can use copies of its weights."""

    copies: Weights | None = None

    def forward(self, values: Tensor) -> Tensor:
        """Map (..., in_features) to (..., out_features)."""
        return F.linear(values, *current_weights(self))


class Conv2d(nn.Conv2d):
    """A convolution that can use copies of its weights."""

    bias: Tensor
    copies: Weights | None = None

    def forward(self, maps: Tensor) -> Tensor:
        """Convolve maps (N, in_channels, h, w)."""
        return self._conv_forward(maps, *current_weights(self))


class ConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution that can use copies of its weights."""

    bias: Tensor
    copies: Weights | None = None

    def forward(self, maps: Tensor) -> Tensor:  # type: ignore[override]
        """Convolve maps (N, in_channels, h, w)."""
        sizes: Any = (self.stride, self.padding, self.output_padding, self.groups, self.dilation)
        return F.conv_transpose2d(maps, *current_weights(self), *sizes)


CastLayer: TypeAlias = Linear | Conv2d | ConvTranspose2d


def current_weights(layer: CastLayer) -> Weights:
    """Return weight and bias, or under autocast their copies, if any."""
    if layer.copies and is_autocast_enabled(layer.weight.device.type):
        return layer.copies
    return layer.weight, layer.bias


def to_autocast(values: Tensor) -> Tensor:
    """Convert values to the type of autocast, if it is enabled."""
    kind = values.device.type
    return values.to(torch.get_autocast_dtype(kind)) if is_autocast_enabled(kind) else values


class WeightCopies:
    """Copies of the weights of a network's layers in another type."""

    def __init__(self, network: nn.Module, dtype: torch.dtype) -> None:
        layers = [layer for layer in network.modules() if isinstance(layer, CastLayer)]
        self.weights: list[Tensor] = []
        self.copies: list[Tensor] = []
        for layer in layers:
            weight, bias = own = current_weights(layer)
            layer.copies = copies = empty_copy(weight, dtype), empty_copy(bias, dtype)
            self.weights += own
            self.copies += copies

    @torch.no_grad()
    def update(self) -> None:
        """Copy the current weights."""
        if self.copies:
            torch._foreach_copy_(self.copies, self.weights)

    def requires_grad_(self, flag: bool) -> None:
        """Set whether the copies require gradients."""
        for copy in self.copies:
            copy.requires_grad = flag

    def pop_gradients(self) -> dict[Tensor, Tensor]:
        """Return the copies' gradients by weight, and clear them."""
        found = {}
        for weight, copy in zip(self.weights, self.copies, strict=True):
            if copy.grad is not None:
                found[weight], copy.grad = copy.grad, None
        return found


def empty_copy(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """Return an uninitialised copy that requires gradients."""
    return torch.empty_like(weight, dtype=dtype, requires_grad=True)
