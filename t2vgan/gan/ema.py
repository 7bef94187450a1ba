"""Exponential moving average of a network's weights."""

import copy

import torch
from torch import Tensor, nn

from t2vgan.distributed.gradients import flatten_parameters


class Ema:
    """Keep the averaged copy of a network that is sampled and evaluated.

    `model` is a deep copy in eval mode without gradients. It holds all state of the average, which
    is saved and loaded as a module.
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.source: nn.Module | None = None
        """The network whose tensors `targets` and `originals` are."""
        self.averages: list[Tensor] = []
        self.targets: list[Tensor] = []
        self.copies: list[Tensor] = []
        self.originals: list[Tensor] = []

    @torch.no_grad()
    def update(
        self, model: nn.Module, weight: float | Tensor, parameters: Tensor | None = None
    ) -> None:
        """Move the average towards `model` by a share of their difference, `weight`.

        Buffers that are saved (running statistics, counters) are copied, not averaged; others are
        constants. `parameters` holds all parameters of the model if they are parts of one buffer:
        the average's are then flattened too, and one kernel updates all.
        """
        if self.source is not model:
            self._match(model, parameters)
        if isinstance(weight, Tensor):
            for average, target in zip(self.averages, self.targets, strict=True):
                average.lerp_(target, weight.to(average.dtype))
        elif self.averages:
            torch._foreach_lerp_(self.averages, self.targets, weight)
        if self.copies:
            torch._foreach_copy_(self.copies, self.originals)

    def _match(self, model: nn.Module, flat: Tensor | None) -> None:
        """List the tensors of both networks, once, because traversing modules is slow."""
        saved = self.model.state_dict()
        buffers = {name: saved[name] for name, _ in self.model.named_buffers() if name in saved}
        self.averages, self.targets = list(self.model.parameters()), list(model.parameters())
        assert len(self.averages) == len(self.targets), "the network changed its structure"
        if flat is not None:
            self.averages = [flatten_parameters(list(self.model.parameters()))]
            self.targets = [flat]
        self.copies = list(buffers.values())
        self.originals = [model.get_buffer(name) for name in buffers]
        self.source = model
