"""Define the losses: pure functions from logits or videos to (B,).

`real_logits` and `fake_logits` of a pair belong to the same prompt.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

T = TypeVar("T")

NEVER = -1e4
"""A difference of logits whose exponential is 0."""

MODE_SEEKING_CONSTANT = 0.01
"""Added to the ratio of differences, in units of the data's standard deviation."""

PENALTY_SHIFT = 0.01
"""Standard deviation of the approximate penalty's noise, in units of the data's."""


@dataclass(frozen=True)
class Objective:
    """Hold both losses of an adversarial objective; each network minimises its own."""

    discriminator: Callable[[Tensor, Tensor], Tensor]
    """(real_logits, fake_logits) -> (B,)."""
    generator: Callable[[Tensor, Tensor], Tensor]
    """(real_logits, fake_logits) -> (B,)."""
    is_relative: bool
    """Whether only differences of logits matter. The gradient of an offset common to all logits is
    then pure rounding error, which Adam would scale up to full steps."""


def relativistic_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return softplus(-(D(real) - D(fake))): R3GAN, Huang et al., NeurIPS 2024, equation 2."""
    return F.softplus(fake_logits - real_logits)


def relativistic_generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return softplus(-(D(fake) - D(real))), the generator's side of equation 2."""
    return F.softplus(real_logits - fake_logits)


def non_saturating_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return -log sigmoid(D(real)) - log(1 - sigmoid(D(fake))): Goodfellow et al., 2014."""
    return F.softplus(-real_logits) + F.softplus(fake_logits)


def non_saturating_generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return -log sigmoid(D(fake)): Goodfellow et al., 2014, section 3."""
    return F.softplus(-fake_logits)


def bce_discriminator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return binary cross-entropy, labels 1 for real and 0 for fake, summed."""
    return F.binary_cross_entropy_with_logits(
        real_logits, torch.ones_like(real_logits), reduction="none"
    ) + F.binary_cross_entropy_with_logits(
        fake_logits, torch.zeros_like(fake_logits), reduction="none"
    )


def bce_generator(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """Return binary cross-entropy of the fakes with label 1."""
    return F.binary_cross_entropy_with_logits(
        fake_logits, torch.ones_like(fake_logits), reduction="none"
    )


OBJECTIVES = {
    "relativistic": Objective(relativistic_discriminator, relativistic_generator, True),
    "non_saturating": Objective(non_saturating_discriminator, non_saturating_generator, False),
    "bce": Objective(bce_discriminator, bce_generator, False),
}


def mismatched(real_logits: Tensor, mismatched_logits: Tensor, is_mismatched: Tensor) -> Tensor:
    """Return the cross-entropy of real clips' own prompts among mismatched ones (B,).

    InfoNCE (van den Oord et al., 2018, equation 4), for the discriminator only. With one mismatched
    prompt it is softplus(-(D(real, its prompt) - D(real, a mismatched prompt))), the matching-aware
    term of Reed et al., ICML 2016, section 4.1, in relativistic form. Prompts where `is_mismatched`
    is False, which happen to equal the clip's own, are ignored.

    Shapes: real_logits (B,), mismatched_logits and is_mismatched, bool, (B, M).
    """
    gaps = (mismatched_logits - real_logits.unsqueeze(1)).masked_fill(~is_mismatched, NEVER)
    return F.softplus(gaps.logsumexp(1))


def latent_recovery(recovered: Tensor, latents: Tensor) -> Tensor:
    """Return the mean squared error of R latents recovered from generated clips.

    InfoGAN, Chen et al., NeurIPS 2016, equation 5, for normal codes of fixed variance: minimising
    it over both networks maximises the information that clips carry about their latents. For a
    generator that draws one clip per prompt it stays at 1, the variance of the latents.

    Shapes: recovered (B, R), latents (B, Z) with Z >= R -> (B,).
    """
    return (recovered - latents[:, : recovered.shape[1]]).square().mean(1)


def mode_seeking(
    differences: Tensor, real_differences: Tensor, latent_differences: Tensor
) -> Tensor:
    """Return a penalty on generated clips that differ too little per prompt.

    The term is 1 / (d / l + 0.01), where d is the mean absolute difference of two generated clips
    and l that of their latents (MSGAN, Mao et al., CVPR 2019, equation 3, as minimised in its
    authors' code, with a larger constant). The same term with d the difference from a real clip is
    subtracted, and the result clamped at 0. If both distributions are equal, both differences are
    equal on average (energy distance, Szekely and Rizzo, 2013), so clips that differ more are not
    penalised. Real differences get no gradient.

    Shapes: differences and real_differences (B, C, T, H, W), latent_differences (B, *Z) -> (B,).
    """
    distance = latent_differences.abs().flatten(1).mean(1)
    own, real = (
        1 / (values.abs().flatten(1).mean(1) / distance + MODE_SEEKING_CONSTANT)
        for values in (differences, real_differences.detach())
    )
    return F.relu(own - real)


def gradient_penalty(
    score: Callable[[Tensor], tuple[Tensor, T]], video: Tensor, unit: Tensor | None = None
) -> tuple[Tensor, T]:
    """Return each clip's squared gradient norm, and the second output of `score`.

    That is |d logits / d (video / unit)|^2 where score(video) is (logits, more). On real clips this
    is R1, on generated ones R2 (Mescheder et al., ICML 2018, equation 9; R3GAN, equation 3); both
    are weighted by gamma / 2. Logits must be computed in float32, because this function is
    differentiated again. `unit` is one value per channel, such as its std; without it the gradient
    is with respect to the video itself. `torch.func.grad` is used because, unlike
    `torch.autograd.grad`, it can be compiled.

    Shapes: logits (B,), video (B, C, T, H, W), unit (C, 1, 1, 1) -> (B,).
    """

    def total(video: Tensor) -> tuple[Tensor, T]:
        logits, more = score(video)
        return logits.sum(), more

    gradient, more = torch.func.grad(total, has_aux=True)(video)
    if unit is not None:
        gradient = gradient * unit
    return gradient.flatten(1).square().sum(1), more


def approximate_gradient_penalty(logits: Tensor, shifted_logits: Tensor) -> Tensor:
    """Return ((D(x + e n) - D(x)) / e)^2, e = PENALTY_SHIFT.

    For standard normal n its mean is the squared gradient norm, up to terms of order e^2, without
    second derivatives (APT, Lin et al., ICML 2025, section 3.4; e and the share of clips are those
    of Adversarial Flow Models, Lin et al., ICML 2026). If n is multiplied by each channel's std, it
    estimates `gradient_penalty` with that `unit`. Logits must be in float32, because rounding
    errors are divided by e.

    Shapes: logits (B,) of x, shifted_logits (B,) of x + e n -> (B,).
    """
    return ((shifted_logits - logits) / PENALTY_SHIFT).square()
