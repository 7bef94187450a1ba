"""Average a network's gradients over ranks in one all-reduce.

One flat buffer after the last backward pass, as StyleGAN3's training loop has it (Karras et al.,
NeurIPS 2021), in place of DistributedDataParallel: that hides the sums of large networks behind the
backward pass, bucket by bucket, and for networks of a few megabytes costs more than it hides.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from t2vgan.distributed.context import DistributedContext

ALIGNMENT = 32  # elements: each gradient begins where vectors of any width may begin


class FlatGradients:
    """Gradients of a network's parameters, side by side in one buffer."""

    def __init__(self, parameters: Iterable[nn.Parameter], context: DistributedContext) -> None:
        self.parameters, self.context = list(parameters), context
        self.views: list[Tensor] = []
        """A part of the buffer for each parameter, with its shape and strides."""

    def average(self) -> None:
        """Replace each gradient by its mean over ranks (collective).

        A parameter without a gradient on this rank counts as zeros. With one process nothing
        changes.
        """
        if self.context.is_distributed:
            self.context.average_(self.collect())

    def collect(self) -> Tensor:
        """Copy gradients from elsewhere into the buffer, and return it."""
        if not self.views:
            self.buffer, self.views = allocate(self.parameters)
        found = [(v, p.grad) for v, p in zip(self.views, self.parameters, strict=True)]
        if missing := [view for view, gradient in found if gradient is None]:
            torch._foreach_zero_(missing)
        others = [(view, g) for view, g in found if g is not None and g is not view]
        if others:
            torch._foreach_copy_([view for view, _ in others], [g for _, g in others])
        self.attach()
        return self.buffer

    def attach(self) -> None:
        """Let each parameter's gradient be its part of the buffer."""
        for parameter, view in zip(self.parameters, self.views, strict=True):
            parameter.grad = view


def allocate(parameters: list[nn.Parameter]) -> tuple[Tensor, list[Tensor]]:
    """Return a buffer, and a view of it like each parameter."""
    sizes = [-(-parameter.numel() // ALIGNMENT) * ALIGNMENT for parameter in parameters]
    buffer = torch.zeros(sum(sizes), dtype=parameters[0].dtype, device=parameters[0].device)
    parts = zip(parameters, buffer.split(sizes), strict=True)
    return buffer, [
        part.as_strided(parameter.shape, parameter.stride()) for parameter, part in parts
    ]
