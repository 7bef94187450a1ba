"""Draw latents from seeds, truncate and interpolate them."""

from collections.abc import Sequence

import torch
from torch import Tensor

MIN_SINE = 1e-4  # of the angle between two codes; below it the arc is undefined


def draw_latents(shape: Sequence[int], seeds: Sequence[int], truncation: float = 1.0) -> Tensor:
    """Draw normal latents (B, *shape), one per seed, equal on every device.

    Truncation scales them towards their mean, 0: at 1 they are as in training, at 0 all clips of a
    prompt are the same typical one (StyleGAN, Karras et al., CVPR 2019, appendix B, where it is
    applied to w).
    """
    sources = [torch.Generator().manual_seed(seed) for seed in seeds]
    return truncation * torch.stack([torch.randn(shape, generator=source) for source in sources])


def slerp(start: Tensor, end: Tensor, weights: Tensor) -> Tensor:
    """Interpolate codes (B, ...) along the arc between them.

    weights (B,): 0 gives exactly `start`, 1 exactly `end`. A straight line would pass through codes
    that are shorter than those of training (White, Sampling Generative Networks, 2016; Shoemake,
    SIGGRAPH 1985). It is used if both directions are equal or opposite.
    """
    first, second = start.flatten(1), end.flatten(1)
    share = weights.to(first).unsqueeze(1)  # B 1
    cosine = torch.cosine_similarity(first, second, dim=1).clamp(-1, 1).unsqueeze(1)  # B 1
    angle = cosine.acos()
    sine = angle.sin()
    toward_first, toward_second = ((1 - share) * angle).sin() / sine, (share * angle).sin() / sine
    arc = toward_first * first + toward_second * second
    line = torch.lerp(first, second, share)
    return torch.where(sine < MIN_SINE, line, arc).view_as(start)
