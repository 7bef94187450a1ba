"""Exponential moving average of a network's weights, with a half-life in clips."""

import copy

import torch
from torch import Tensor, nn

from t2vgan.distributed.gradients import flatten_parameters


class Ema:
    """Keep the averaged copy of a network that is sampled and evaluated.

    The weight of a past value halves every `halflife_clips` real clips, at any batch size. Early in
    training the average would be mostly the random start, so the half-life is capped at `rampup`
    times the clips seen so far (`None` or 0: no cap). Both rules are those of StyleGAN2-ADA
    (Karras et al. 2020, https://arxiv.org/abs/2006.06676, `training_loop.py`).

    `model` is a deep copy in eval mode without gradients. It holds all state of the average, which
    is saved and loaded as a module.
    """

    def __init__(self, model: nn.Module, halflife_clips: float, rampup: float | None = None):
        assert halflife_clips >= 0, f"halflife_clips={halflife_clips} must not be negative"
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.halflife_clips = halflife_clips
        self.rampup = rampup
        self.source: nn.Module | None = None
        """The network whose tensors `targets` and `originals` are."""
        self.averages: list[Tensor] = []
        self.targets: list[Tensor] = []
        self.copies: list[Tensor] = []
        self.originals: list[Tensor] = []

    def halflife(self, clips_seen: int) -> float:
        """Return the half-life in clips after `clips_seen` clips of training."""
        if not self.rampup:
            return self.halflife_clips
        return min(self.halflife_clips, self.rampup * clips_seen)

    @torch.no_grad()
    def update(
        self, model: nn.Module, num_clips: int, clips_seen: int, weights: Tensor | None = None
    ) -> None:
        """Move the average towards `model` after a step of `num_clips` real clips.

        `clips_seen` counts the clips before this step: with a ramp, the first step therefore
        copies the network. Buffers that are saved (running statistics, counters) are copied, not
        averaged; others are constants. `weights` holds all parameters of the model if they are
        parts of one buffer: the average's are then flattened too, and one kernel updates all.
        """
        halflife = self.halflife(clips_seen)
        beta = 0.5 ** (num_clips / halflife) if halflife > 0 else 0.0
        if self.source is not model:
            self._match(model, weights)
        if self.averages:
            torch._foreach_lerp_(self.averages, self.targets, 1.0 - beta)
        if self.copies:
            torch._foreach_copy_(self.copies, self.originals)

    def _match(self, model: nn.Module, weights: Tensor | None) -> None:
        """List the tensors of both networks, once, because traversing modules is slow."""
        saved = self.model.state_dict()
        buffers = {name: saved[name] for name, _ in self.model.named_buffers() if name in saved}
        self.averages, self.targets = list(self.model.parameters()), list(model.parameters())
        assert len(self.averages) == len(self.targets), "the network changed its structure"
        if weights is not None:
            self.averages, self.targets = (
                [flatten_parameters(list(self.model.parameters()))],
                [weights],
            )
        self.copies = list(buffers.values())
        self.originals = [model.get_buffer(name) for name in buffers]
        self.source = model
