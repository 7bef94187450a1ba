"""Compute scheduled values: learning rates, penalty, loss weights.

All are pure functions of a run's progress, which goes from 0 to 1.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from t2vgan.config import TrainConfig

WARMUP = 0.1  # share of the remaining steps in which progress adapts to a new run length

Length = tuple[int, int]
"""(step, num_steps): from `step` on, schedules are those of a run of `num_steps` steps."""


@dataclass(frozen=True)
class Schedule:
    """Hold the scheduled values of one step.

    Some may be tensors (), which a CUDA graph reads anew at each replay.
    """

    generator_lr: float
    discriminator_lr: float
    beta1: float
    beta2: float | Tensor
    """Betas of Adam."""
    gamma: float
    """Weight of R1 and R2 if they were computed in every step."""
    penalty_weight: float | Tensor
    """Weight of R1 and R2 in this step; 0 in steps without the penalty."""
    recovery_weight: float | Tensor
    camera_std: float | None
    """None without a camera."""
    ema_halflife: float
    """Half-life of the generator's average in clips."""
    ema_weight: float | Tensor
    """Weight of the generator in its average."""

    @property
    def is_penalised(self) -> bool:
        """Whether this step has the penalty; a tensor means that it does."""
        return isinstance(self.penalty_weight, Tensor) or self.penalty_weight > 0

    def metrics(self) -> dict[str, float]:
        """Return the values by their names in metrics.jsonl."""
        values: dict[str, float | Tensor | None] = {
            "lr/generator": self.generator_lr,
            "lr/discriminator": self.discriminator_lr,
            "beta2": self.beta2,
            "gamma": self.gamma,
            "recovery/weight": self.recovery_weight,
            "camera/std": self.camera_std,
            "ema/halflife": self.ema_halflife,
        }
        return {name: float(value) for name, value in values.items() if value is not None}


def compute_progress(lengths: Sequence[Length], step: int) -> float:
    """Return the progress at a step, from 0 to 1.

    After a change of the run's length it moves gradually, over the warmup, to that of the new
    length, so that scheduled values do not jump. After the end it is 1.
    """
    *earlier, (since, num_steps) = [length for length in lengths if length[0] <= step]
    progress = min(step / num_steps, 1.0)
    if not earlier:
        return progress
    share = min((step - since) / warmup_steps((since, num_steps)), 1.0)
    return share * progress + (1 - share) * compute_progress(earlier, since)


def warmup_steps(length: Length) -> int:
    """Return the number of warmup steps after a change of length."""
    since, num_steps = length
    return max(1, round(WARMUP * (num_steps - since)))


def compute_schedule(
    train: TrainConfig, camera_variation: float, step: int, progress: float
) -> Schedule:
    """Return the schedule of a step.

    From `lr_hold` on, learning rates fall and camera motion rises; the weight of latent recovery
    rises between `recovery_hold` and `recovery_until`. The penalty is computed every
    `penalty_every_steps` steps, with its weight multiplied by that number.
    """
    decay = cosine(progress, start=1.0, end=train.lr_final, hold=train.lr_hold)
    rise = partial(cosine, progress, start=0.0, end=1.0)
    hold, until = train.recovery_rise
    every, gamma = train.penalty_every_steps, 0.0
    if every:
        gamma = log_linear(
            progress, start=train.gamma_start, end=train.gamma_end, until=train.gamma_until
        )
    halflife = ema_halflife(train, step * train.global_batch_size)
    return Schedule(
        generator_lr=train.generator_lr * decay,
        discriminator_lr=train.discriminator_lr * decay,
        beta1=train.beta1,
        beta2=cosine(progress, start=train.beta2_start, end=train.beta2_end),
        gamma=gamma,
        penalty_weight=every * gamma if has_penalty(step, every) else 0.0,
        recovery_weight=train.recovery_weight * rise(hold=hold, until=until),
        camera_std=camera_variation * rise(hold=train.lr_hold) if camera_variation else None,
        ema_halflife=halflife,
        ema_weight=1 - (0.5 ** (train.global_batch_size / halflife) if halflife else 0.0),
    )


def ema_halflife(train: TrainConfig, clips_seen: int) -> float:
    """Return the half-life of the generator's average, in clips.

    Early in training the average would be mostly the random start, so the half-life is capped at
    `ema_rampup` times the clips seen so far; 0: no cap. At the first step it is 0. Both rules are
    those of StyleGAN2-ADA (Karras et al. 2020, https://arxiv.org/abs/2006.06676,
    `training_loop.py`).
    """
    if not train.ema_rampup:
        return train.ema_halflife_clips
    return min(train.ema_halflife_clips, train.ema_rampup * clips_seen)


def has_penalty(step: int, every_steps: int) -> bool:
    """Return whether a step has R1 and R2; 0 means never."""
    return every_steps > 0 and step % every_steps == 0


def noise_every_steps(train: TrainConfig) -> int:
    """Return the interval in steps of the approximate penalty; 0: none."""
    return train.penalty_every_steps if train.penalty == "approximate" else 0


def cosine(
    progress: float, *, start: float, end: float, hold: float = 0.0, until: float = 1.0
) -> float:
    """Return `start` until `hold`, then half a cosine to `end` at `until`.

    If `until` <= `hold`, the value jumps at `hold`."""
    progress = min(progress, 1.0)
    if progress <= hold:
        return start
    if progress >= until:
        return end
    fall = (progress - hold) / (until - hold)
    return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * fall))


def log_linear(progress: float, *, start: float, end: float, until: float) -> float:
    """Return start * (end / start) ** (progress / until), then `end`."""
    if progress >= until:
        return end
    return start * (end / start) ** (progress / until)
