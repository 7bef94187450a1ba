"""Average a network's gradients over ranks in one all-reduce.

A flat buffer is reduced after the last backward pass, as in StyleGAN3's training loop (Karras et
al., NeurIPS 2021), instead of DistributedDataParallel: that overlaps communication with the
backward pass, bucket by bucket, which costs more than it saves for networks of a few megabytes.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor, nn

from t2vgan.distributed.context import DistributedContext

ALIGNMENT = 32  # elements: alignment of each gradient, for vectorised loads
ROW = 1024  # elements: a buffer's size is a multiple of it


class FlatGradients:
    """Gradients of a network's parameters in one contiguous buffer.

    A backward pass stores gradients anywhere; `collect` copies them into the buffer.
    """

    buffer: Tensor
    """All gradients, once `views` or `collect` was called."""

    def __init__(self, parameters: Iterable[nn.Parameter], context: DistributedContext) -> None:
        self.parameters, self.context = list(parameters), context

    @cached_property
    def views(self) -> dict[Tensor, Tensor]:
        """Views of the buffer with each parameter's shape and strides."""
        self.buffer, views = allocate(self.parameters)
        return dict(zip(self.parameters, views, strict=True))

    def average(self) -> None:
        """Replace the buffer by its mean over ranks (collective)."""
        if self.context.is_distributed:
            self.context.average_(self.buffer)

    def collect(self) -> Tensor:
        """Copy gradients that are stored elsewhere into the buffer; return it.

        A parameter without a gradient gets zeros.
        """
        missing, targets, sources = [], [], []
        for parameter, view in self.views.items():
            gradient, parameter.grad = parameter.grad, view
            if gradient is None:
                missing.append(view)
            elif gradient is not view:
                targets.append(view)
                sources.append(gradient)
        if missing:
            torch._foreach_zero_(missing)
        if targets:
            copy_all(targets, sources)
        return self.buffer

    def add(self, gradients: Mapping[Tensor, Tensor]) -> None:
        """Add gradients, of any type, to those of some parameters."""
        fresh, known = {}, {}
        for parameter, gradient in gradients.items():
            if parameter.grad is None:
                parameter.grad = self.views[parameter]
                fresh[parameter.grad] = gradient
            else:
                known[parameter.grad] = gradient
        if fresh:
            copy_all(list(fresh), list(fresh.values()))
        if known:
            torch._foreach_add_(list(known), list(known.values()))

    def clear(self) -> None:
        """Set all parameters' gradients to None."""
        for parameter in self.parameters:
            parameter.grad = None


def allocate(parameters: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
    """Return a buffer of zeros, and its views shaped like the parameters."""
    sizes = [-(-parameter.numel() // ALIGNMENT) * ALIGNMENT for parameter in parameters]
    size = -(-sum(sizes) // ROW) * ROW
    buffer = torch.zeros(size, dtype=parameters[0].dtype, device=parameters[0].device)
    parts = zip(parameters, buffer[: sum(sizes)].split(sizes), strict=True)
    return buffer, [
        part.as_strided(parameter.shape, parameter.stride()) for parameter, part in parts
    ]


def copy_all(targets: Sequence[Tensor], sources: Sequence[Tensor]) -> None:
    """Copy tensors in one call.

    Dimensions of size 1 are removed: their strides may differ, and on a GPU one pair of tensors
    with different strides costs a kernel for each pair.
    """
    torch._foreach_copy_([t.squeeze() for t in targets], [s.squeeze() for s in sources])


def compute_norm(buffer: Tensor) -> Tensor:
    """Return a buffer's norm, ().

    It is computed from the norms of rows, because long sums lose precision.
    """
    return torch.linalg.vector_norm(torch.linalg.vector_norm(buffer.view(-1, ROW), dim=1))


def flatten_parameters(parameters: Sequence[nn.Parameter]) -> Tensor:
    """Move parameters into one contiguous buffer, and return it."""
    buffer, views = allocate(parameters)
    with torch.no_grad():
        torch._foreach_copy_(views, list(parameters))
    for parameter, view in zip(parameters, views, strict=True):
        parameter.data = view
    return buffer
