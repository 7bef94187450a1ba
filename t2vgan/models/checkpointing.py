"""Gradient checkpointing: compute activations again instead of keeping them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class CheckpointedModule(nn.Module):
    """A module that can keep only its inputs for the backward pass.

    The backward pass then computes it again (Chen et al., 2016, https://arxiv.org/abs/1604.06174):
    the same gradients, bit for bit. A backward pass that is itself differentiated would keep what
    it computed again: with an exact gradient penalty nothing is saved (`keep_activations`).
    """

    gradient_checkpointing = False

    def recompute(self, function: Callable[..., Tensor], *args: Tensor | None) -> Tensor:
        """Call a function; where enabled, the backward pass calls it again."""
        if self.gradient_checkpointing and torch.is_grad_enabled():
            # Nothing is random inside, so that no state of random numbers need be kept.
            result: Tensor = checkpoint(
                function, *args, use_reentrant=False, preserve_rng_state=False
            )
            return result
        return function(*args)


def enable_gradient_checkpointing(network: nn.Module) -> None:
    """Enable it in every module of a network that can."""
    for module in network.modules():
        if isinstance(module, CheckpointedModule):
            module.gradient_checkpointing = True


@contextmanager
def keep_activations(network: nn.Module) -> Iterator[None]:
    """Disable it in this context: torch.func.grad does not support it."""
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
