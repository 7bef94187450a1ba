"""Gradient checkpointing: recompute activations instead of keeping them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class CheckpointedModule(nn.Module):
    """A module that can keep only its inputs for the backward pass.

    The backward pass then recomputes the activations (Chen et al., 2016,
    https://arxiv.org/abs/1604.06174); gradients are the same, bit for bit. A double backward would
    keep the recomputed activations, so with an exact gradient penalty it is disabled
    (`keep_activations`).
    """

    gradient_checkpointing = False

    def recompute(self, function: Callable[..., Tensor], *args: Tensor | None) -> Tensor:
        """Call a function; if enabled, the backward pass recomputes it."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            # The function draws no random numbers, so their state need not be kept.
            result: Tensor = checkpoint(
                function, *args, use_reentrant=False, preserve_rng_state=False
            )
            return result
        return function(*args)


def enable_gradient_checkpointing(network: nn.Module) -> None:
    """Enable gradient checkpointing in every module that supports it."""
    for module in network.modules():
        if isinstance(module, CheckpointedModule):
            module.gradient_checkpointing = True


@contextmanager
def keep_activations(network: nn.Module) -> Iterator[None]:
    """Disable checkpointing in this context: torch.func.grad does not support it."""
    enabled = [
        module
        for module in network.modules()
        if isinstance(module, CheckpointedModule) and module.gradient_checkpointing
    ]
    for module in enabled:
        module.gradient_checkpointing = False
    try:
        yield
    finally:
        for module in enabled:
            module.gradient_checkpointing = True
