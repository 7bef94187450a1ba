"""Apply a network's gradients: clipping, loss scaling, nonfinite steps."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from t2vgan.distributed.gradients import FlatGradients, compute_norm
from t2vgan.errors import UserError
from t2vgan.gan.flat_adam import FlatAdam
from t2vgan.models.casting import WeightCopies


class Prepared(NamedTuple):
    """Properties of gradients that are ready to be applied."""

    norm: Tensor
    """Norm before clipping, ()."""
    nonfinite: Tensor
    """Whether the update counts as nonfinite, and, except in float16, is skipped; bool ()."""


@dataclass
class NetworkOptimizer:
    """A network with its gradients, optimizer and gradient scaler."""

    name: str
    network: nn.Module
    gradients: FlatGradients
    """The network's gradients, averaged over ranks after an update's last backward pass."""
    optimizer: FlatAdam
    grad_scaler: torch.amp.GradScaler
    """One per network: in float16, an overflow in one must not change the scale of the other."""
    gradient_clip: float
    """Clip the gradient norm at this multiple of its usual value; 0 disables clipping."""
    copies: WeightCopies | None = None
    """Copies of the weights in the type of autocast."""
    nonfinite: list[Tensor] = field(default_factory=list)
    """Whether each update since the last gathering was nonfinite on this rank: 0 or 1, () each."""

    def requires_grad_(self, flag: bool) -> None:
        """Set whether the network's parameters require gradients."""
        for parameter in self.gradients.parameters:
            parameter.requires_grad = flag
        if self.copies:
            self.copies.requires_grad_(flag)

    def copy_weights(self, dtype: torch.dtype) -> None:
        """Copy the current weights into the type of autocast."""
        if dtype == torch.float32:
            return
        if self.copies is None:
            self.copies = WeightCopies(self.network, dtype)
        self.copies.update()

    def clear_gradients(self) -> None:
        """Forget the gradients of all weights and copies."""
        self.gradients.clear()
        if self.copies:
            self.copies.pop_gradients()

    def add_gradients_of_copies(self) -> None:
        """Add the gradients of the copies to those of the weights."""
        if self.copies:
            self.gradients.add(self.copies.pop_gradients())

    def set_schedule(self, learning_rate: float, betas: tuple[float, float]) -> None:
        """Set the learning rate and Adam's betas of the next update."""
        (group,) = self.optimizer.param_groups
        group["lr"], group["betas"] = learning_rate, betas

    def prepare(self, loss: Tensor, beta2: float | Tensor) -> Prepared:
        """Unscale and clip the gradients, without a device sync.

        Gradients were averaged over ranks, so all ranks decide alike. A skipped update counts as
        nonfinite, unless the gradient overflowed only because the loss was scaled up, which the
        scaler provokes by raising its scale from time to time. A gradient that is nonfinite at any
        scale brings the scale down to 1.
        """
        gradients = self.gradients.buffer
        is_scaled_up: Tensor | None = None
        if self.grad_scaler.is_enabled():
            is_scaled_up = self.grad_scaler.scale(torch.ones_like(loss)) > 1
            self.grad_scaler.unscale_(self.optimizer)
        norm = compute_norm(gradients)
        nonfinite = (norm * 0).isnan()  # true for a nonfinite loss too
        if is_scaled_up is not None:  # the scaler itself checks for overflow, and adapts its scale
            nonfinite = nonfinite & ~is_scaled_up | ~loss.isfinite()
        if self.gradient_clip:
            share = self.gradient_clip * self.usual_norm(beta2) / norm
            gradients.mul_(share.nan_to_num(nan=1.0).clamp(max=1.0))  # NaN: no update applied yet
        return Prepared(norm, nonfinite)

    def apply(self, nonfinite: Tensor) -> None:
        """Update the weights if the gradients are finite, without a device sync."""
        flag = nonfinite.float()  # a tensor of its own: a CUDA graph reuses its outputs
        self.nonfinite.append(flag)
        if self.grad_scaler.is_enabled():
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()
        else:
            self.optimizer.found_inf = flag
            self.optimizer.update()

    def usual_norm(self, beta2: float | Tensor) -> Tensor:
        """Return the root of the mean squared norm of applied gradients, ().

        The running mean is Adam's: the sum of its second moments, with their bias correction. NaN
        before the first applied update.
        """
        moments = self.optimizer.flatten_state()
        if isinstance(beta2, Tensor):
            beta2 = beta2.to(moments.step)
        return (moments.exp_avg_sq.sum() / (1 - beta2**moments.step)).sqrt()

    def load_loss_scale(self, state: Mapping[str, Any]) -> None:
        """Restore the gradient scaler, unless the precision changed.

        Raises:
            UserError: a value is missing or unknown.
        """
        expected = self.grad_scaler.state_dict()
        if state and expected:
            if state.keys() != expected.keys() or not state["scale"]:
                raise UserError(
                    f"loss_scales.{self.name} of the checkpoint does not fit this torch's"
                    " GradScaler; use the torch that wrote it, or move the checkpoint away"
                )
            self.grad_scaler.load_state_dict(dict(state))
