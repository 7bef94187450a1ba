"""Apply a network's gradients: clipping, loss scaling, nonfinite steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from t2vgan.distributed.gradients import FlatGradients
from t2vgan.errors import UserError


@dataclass
class NetworkOptimizer:
    """A network with its gradients, optimizer and gradient scaler."""

    name: str
    network: nn.Module
    gradients: FlatGradients
    """Of the network, averaged over ranks after the last backward pass of an update."""
    optimizer: torch.optim.Adam
    grad_scaler: torch.amp.GradScaler
    """One per network: in float16 an overflow of one must not change the other's scale."""
    gradient_clip: float
    """Scale gradients down to this multiple of their usual norm; 0 never."""
    nonfinite: list[Tensor] = field(default_factory=list)
    """For each update since they were last gathered: was it not finite on this rank? (), bool."""

    def set_schedule(self, *, learning_rate: float, betas: tuple[float, float]) -> None:
        """Set the learning rate and Adam's betas of the next update."""
        for group in self.optimizer.param_groups:
            group["lr"], group["betas"] = learning_rate, betas

    def step(self, loss: Tensor) -> Tensor:
        """Apply the gradients if their norm is finite, without a device sync.

        Gradients were averaged over ranks, so all ranks decide alike. An update that is not applied
        counts as nonfinite, except where the gradient only overflowed because the loss was scaled
        up: from time to time the scaler raises its scale until that happens. A gradient that is
        not finite by itself brings the scale down to 1.

        Returns the gradients' norm, (), before it was clipped.
        """
        is_scaled_up = self.grad_scaler.scale(torch.ones_like(loss)) > 1
        self.grad_scaler.unscale_(self.optimizer)
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients, foreach=True)
        overflows = norm.isfinite().logical_not()
        self.nonfinite.append(overflows & ~is_scaled_up | ~loss.isfinite())
        if not self.grad_scaler.is_enabled():  # else it checks by itself, and adapts its scale
            self.optimizer.found_inf = overflows.float()  # type: ignore[attr-defined]  # Adam's
        if self.gradient_clip and self.optimizer.state:  # before the first update there is no norm
            limit = self.gradient_clip * self.usual_norm()
            torch._foreach_mul_(gradients, torch.where(norm > limit, limit / norm, 1.0))
        self.grad_scaler.step(self.optimizer)
        self.grad_scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def usual_norm(self) -> Tensor:
        """Return the root of the mean squared norm of applied gradients, ().

        A running mean over as many updates as Adam averages: its second moments add up to it. The
        correction of their bias applies to the sum as well. NaN before the first applied update.
        """
        (group,) = self.optimizer.param_groups
        states = self.optimizer.state
        seen = [states[parameter] for parameter in group["params"] if parameter in states]
        squares = torch.nn.utils.get_total_norm(
            [s["exp_avg_sq"] for s in seen], norm_type=1.0, foreach=True
        )
        return (squares / (1 - group["betas"][1] ** seen[0]["step"])).sqrt()

    def load_loss_scale(self, state: Mapping[str, Any]) -> None:
        """Restore the gradient scaler, unless the run had another precision.

        Raises:
            UserError: a value is missing or unknown.
        """
        expected = self.grad_scaler.state_dict()
        if state and expected:
            if state.keys() != expected.keys() or not state["scale"]:
                raise UserError(
                    f"loss_scales.{self.name} of the checkpoint is no state of this torch's"
                    " GradScaler; use the torch that wrote it, or move the checkpoint away"
                )
            self.grad_scaler.load_state_dict(dict(state))
