"""Gradient checkpointing: compute activations again instead of keeping them."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class CheckpointedModule(nn.Module):
    """A module that can keep only its inputs for the backward pass.

    The backward pass then computes it again (Chen et al., 2016, https://arxiv.org/abs/1604.06174):
    the same gradients, bit for bit and of any order. What a backward pass that is itself
    differentiated has computed again, it keeps: an exact gradient penalty saves nothing.
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
