"""One side of the game: a network, and how its gradients are applied."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn


@dataclass
class NetworkOptimizer:
    """A network, what wraps it, and what trains it."""

    name: str
    network: nn.Module
    """The network itself: for the other side's update, and for saving."""
    wrapped: nn.Module
    """The same network, its gradients averaged over ranks: for its own update."""
    optimizer: torch.optim.Adam
    scaler: torch.amp.GradScaler
    """Its own: in float16 an overflow of one network must not touch the other's scale."""
    gradient_clip: float
    """Scale gradients down to so many times their usual norm; 0 never."""
    bad: list[Tensor] = field(default_factory=list)
    """For each update since the flags were last read: whether this rank found it bad; (), bool."""

    def set_schedule(self, *, learning_rate: float, betas: tuple[float, float]) -> None:
        for group in self.optimizer.param_groups:
            group["lr"], group["betas"] = learning_rate, betas

    def step(self, loss: Tensor) -> Tensor:
        """Apply the gradients if their norm is finite: decided on the device, without a sync.

        Gradients were averaged over ranks, so all ranks decide alike. Else an update is bad, except
        where it only overflowed because the loss was scaled up: from time to time the scaler raises
        its scale until that happens. A gradient that is at fault itself brings the scale down to 1.

        Returns the gradients' norm, (), before it was clipped.
        """
        is_scaled_up = self.scaler.scale(torch.ones_like(loss)) > 1
        self.scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        overflows = norm.isfinite().logical_not()
        self.bad.append(overflows & ~is_scaled_up | ~loss.isfinite())
        if not self.scaler.is_enabled():  # else it looks for itself, and adapts its scale
            self.optimizer.found_inf = overflows.float()  # type: ignore[attr-defined]  # Adam's
        if self.gradient_clip and self.optimizer.state:  # before the first none was usual
            limit = self.gradient_clip * self.usual_norm()
            torch._foreach_mul_(gradients, torch.where(norm > limit, limit / norm, 1.0))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def usual_norm(self) -> Tensor:
        """Return the root of the mean squared norm of the gradients applied so far, ().

        A running mean, over as many updates as Adam remembers: its second moments add up to it. Its
        correction of their bias applies to the sum as well. NaN where no update was applied yet.
        """
        (group,) = self.optimizer.param_groups
        states = self.optimizer.state
        seen = [states[parameter] for parameter in group["params"] if parameter in states]
        squares = torch.nn.utils.get_total_norm([s["exp_avg_sq"] for s in seen], norm_type=1.0)
        return (squares / (1 - group["betas"][1] ** seen[0]["step"])).sqrt()
