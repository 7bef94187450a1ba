"""Apply a network's gradients: clipping, loss scaling, nonfinite steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from t2vgan.distributed.gradients import FlatGradients, compute_norm
from t2vgan.errors import UserError
from t2vgan.gan.flat_adam import FlatAdam
from t2vgan.models.casting import WeightCopies


@dataclass
class NetworkOptimizer:
    """A network with its gradients, optimizer and gradient scaler."""

    name: str
    network: nn.Module
    gradients: FlatGradients
    """Of the network, averaged over ranks after the last backward pass of an update."""
    optimizer: FlatAdam
    grad_scaler: torch.amp.GradScaler
    """One per network: in float16 an overflow of one must not change the other's scale."""
    gradient_clip: float
    """Scale gradients down to this multiple of their usual norm; 0 never."""
    copies: WeightCopies | None = None
    """Of the weights, for autocast."""
    nonfinite: list[Tensor] = field(default_factory=list)
    """For each update since they were last gathered: was it not finite on this rank? (), bool."""

    def requires_grad_(self, flag: bool) -> None:
        """Let the network's parameters have gradients, or not."""
        for parameter in self.gradients.parameters:
            parameter.requires_grad = flag
        if self.copies:
            self.copies.requires_grad_(flag)

    def copy_weights(self, dtype: torch.dtype) -> None:
        """Copy the weights as they are now for autocast to a type."""
        if dtype == torch.float32:
            return
        if self.copies is None:
            self.copies = WeightCopies(self.network, dtype)
        self.copies.update()

    def add_gradients_of_copies(self) -> None:
        """Add the gradients of copied weights to those of the weights."""
        if self.copies:
            self.gradients.add(self.copies.pop_gradients())

    def set_schedule(self, *, learning_rate: float, betas: tuple[float, float]) -> None:
        """Set the learning rate and Adam's betas of the next update."""
        (group,) = self.optimizer.param_groups
        group["lr"], group["betas"] = learning_rate, betas

    def step(self, loss: Tensor) -> Tensor:
        """Apply the gradients if their norm is finite, without a device sync.

        Gradients were averaged over ranks, so all ranks decide alike. An update that is not applied
        counts as nonfinite, except where the gradient only overflowed because the loss was scaled
        up: from time to time the scaler raises its scale until that happens. A gradient that is
        not finite by itself brings the scale down to 1.

        Returns the gradients' norm, (), before it was clipped.
        """
        gradients = self.gradients.collect()
        is_scaled_up: Tensor | None = None
        if self.grad_scaler.is_enabled():
            is_scaled_up = self.grad_scaler.scale(torch.ones_like(loss)) > 1
            self.grad_scaler.unscale_(self.optimizer)
        norm = compute_norm(gradients)
        overflows = (norm * 0).isnan()
        if is_scaled_up is None:
            self.nonfinite.append(overflows)  # also where the loss is not finite
            self.optimizer.found_inf = overflows.float()
        else:  # the scaler checks by itself, and adapts its scale
            self.nonfinite.append(overflows & ~is_scaled_up | ~loss.isfinite())
        if self.gradient_clip and self.optimizer.state:  # before the first update there is no norm
            share = self.gradient_clip * self.usual_norm() / norm
            gradients.mul_(share.nan_to_num(nan=1.0).clamp(max=1.0))  # NaN: nothing was applied yet
        if is_scaled_up is None:
            self.optimizer.update()
        else:
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()
        self.gradients.clear()
        return norm

    def usual_norm(self) -> Tensor:
        """Return the root of the mean squared norm of applied gradients, ().

        A running mean over as many updates as Adam averages: its second moments add up to it. The
        correction of their bias applies to the sum as well. NaN before the first applied update.
        """
        moments = self.optimizer.flatten_state()
        beta2 = self.optimizer.param_groups[0]["betas"][1]
        return (moments.exp_avg_sq.sum() / (1 - beta2**moments.step)).sqrt()

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
