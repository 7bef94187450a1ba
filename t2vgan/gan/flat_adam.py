"""Adam over all weights of a network at once.

Weights, gradients and moments are one buffer each, so that an update is one kernel and its cost on
the host does not grow with the number of tensors. The tensors are views of the buffers; checkpoints
hold them by name.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from t2vgan.distributed.gradients import FlatGradients, allocate, flatten_parameters


class Moments(NamedTuple):
    """State of Adam for all weights."""

    step: Tensor
    """Number of applied updates, ()."""
    exp_avg: Tensor
    exp_avg_sq: Tensor


class FlatAdam(torch.optim.Adam):
    """Adam (Kingma and Ba, ICLR 2015) on `gradients.buffer`.

    Parameter groups, `found_inf` and `grad_scale` work as in torch's fused Adam. A parameter
    without a gradient counts as having a zero gradient.
    """

    found_inf: Tensor | None = None
    grad_scale: Tensor | None = None

    def __init__(
        self, gradients: FlatGradients, learning_rate: float, betas: tuple[float, float]
    ) -> None:
        super().__init__(gradients.parameters, learning_rate, betas=betas, fused=True)
        self.gradients = gradients
        self.weights: Tensor | None = None
        """All weights in one buffer; None before the first update."""
        self.moments: Moments | None = None
        self.part: object = None
        """The first parameter's entry in `state`, to notice when state was loaded."""

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Call `update`, with torch's hooks around it."""
        self.update()

    def update(self) -> None:
        """Update all weights, unless `found_inf` is set."""
        if self.weights is None:
            self.weights = flatten_parameters(self.gradients.parameters)
        moments = self.flatten_state()
        (group,) = self.param_groups
        beta1, beta2 = group["betas"]
        moments.step.add_(1)
        torch._fused_adam_(
            [self.weights],
            [self.gradients.buffer],
            [moments.exp_avg],
            [moments.exp_avg_sq],
            [],
            [moments.step],
            amsgrad=False,
            beta1=beta1,
            beta2=beta2,
            lr=group["lr"],
            weight_decay=0.0,
            eps=group["eps"],
            maximize=False,
            grad_scale=self.grad_scale,
            found_inf=self.found_inf,
        )
        if self.found_inf is not None:
            moments.step.sub_(self.found_inf)

    def flatten_state(self) -> Moments:
        """Return the flat moments; each parameter's state becomes a view of them.

        State loaded since the last call is copied; missing state is zero.
        """
        parameters = self.gradients.parameters
        if self.moments is not None and self.part is self.state.get(parameters[0]):
            return self.moments
        (exp_avg, averages), (exp_avg_sq, squares) = allocate(parameters), allocate(parameters)
        self.moments = Moments(torch.zeros((), device=exp_avg.device), exp_avg, exp_avg_sq)
        for parameter, *parts in zip(parameters, averages, squares, strict=True):
            own = dict(zip(Moments._fields, (self.moments.step, *parts), strict=True))
            for name, value in self.state.get(parameter, {}).items():
                own[name].copy_(value)
            self.state[parameter] = own
        self.part = self.state[parameters[0]]
        return self.moments
