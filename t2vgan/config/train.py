"""Options of the training recipe: `--train.*`."""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from t2vgan.utils.frozen import Fraction, Versioned

AdamBeta = Annotated[float, Field(ge=0, lt=1)]


class TrainConfig(Versioned):
    """The recipe: losses, optimizers and schedules.

    A step is one update of each network.
    """

    RETIRED: ClassVar[Mapping[str, Any]] = {"look_latents": 0, "spread_weight": 0}

    seed: NonNegativeInt = 0
    """Seed of everything random in a run."""
    num_steps: PositiveInt = 4000
    """Length of the run, over which the progress of schedules goes from 0 to 1."""
    lengthening: Literal["constant", "stretch"] = "constant"
    """Schedules of a run resumed with another `num_steps`. constant: they keep their length, then
    their last values; stretch: after a warm-up they follow the new length."""
    global_batch_size: PositiveInt = 16
    """Clips per update over all processes."""
    micro_batch_size: NonNegativeInt = 0
    """Clips per process and backward pass; 0: all clips of the process at once."""
    frames_per_clip: PositiveInt = 4
    """Frames of each clip shown per step, drawn at random and sorted (StyleGAN-V, section 3.2)."""
    near_window_share: Fraction = 0.0
    """Share of clips shown as nearby frames, every one or every second from a random start: fine
    motion, such as that of a texture, is visible in nearby frames only."""
    standardize: bool = True
    """Train both networks on videos standardised by the data's mean and std, with gamma in these
    units. False: on videos in [-1, 1], with gamma in those; always so in earlier versions."""
    augment: float | Literal["auto"] = "auto"
    """Share of clips, real and generated, that are shifted by at most an eighth of a frame, partly
    cut out, and changed in brightness and contrast, each independently. auto: 0.5 if the data has
    fewer than 2,000 clips, else 0."""
    loss: Literal["relativistic", "non_saturating", "bce"] = "relativistic"
    """relativistic: R3GAN's pairing; non_saturating: softplus; bce: the notebook's."""
    mismatched_weight: NonNegativeFloat = 1.0
    """Weight of the loss on real clips with mismatched prompts, those of other clips of the batch;
    0: no such loss."""
    mismatched_prompts: PositiveInt = 1
    """Number of mismatched prompts per real clip; at most all others of the batch. With many, words
    are learned sooner (InfoNCE), and the discriminator gets a lead."""
    hard_mismatched_share: Fraction = 0.0
    """Share of clips for which one mismatched prompt is a hard one: it differs in a single word, or
    in words exchanged between two of its phrases, if the data has such prompts."""
    recovered_latents: NonNegativeInt = 8
    """Number of each fake's latents that the discriminator learns to predict; 0: none."""
    recovery_weight: NonNegativeFloat = 3.0
    """Final weight of that loss, for both networks; it keeps clips of one prompt different. It
    rises from 0 between `recovery_hold` and `recovery_until`: first the prompts, then the variety.
    """
    recovery_hold: Fraction | None = None
    """Share of the run before that weight rises; None: `lr_hold`."""
    recovery_until: Fraction = 1.0
    """Share of the run at which that weight is reached; if before the rise starts: at once."""
    mode_seeking_weight: NonNegativeFloat = 0.0
    """Weight of a loss on clips of one prompt that differ less, relative to their latents (MSGAN),
    than generated and real clips do; it keeps clips of one prompt different from the first step
    on. 0: no such loss."""
    generator_lr: PositiveFloat = 2e-3
    """Adam's initial learning rate for the generator."""
    discriminator_lr: PositiveFloat = 1e-3
    """Adam's initial learning rate for the discriminator; half the generator's is stable."""
    lr_hold: Fraction = 0.4
    """Share of the run before the learning rates start their cosine decay."""
    lr_final: Fraction = 0.05
    """Final learning rates relative to the initial ones."""
    beta1: AdamBeta = 0.0
    """Adam's decay of the mean gradient."""
    beta2_start: AdamBeta = 0.9
    """Adam's initial decay of the mean squared gradient; small, because after many small gradients
    a sudden large one makes a step of up to lr / sqrt(1 - beta2)."""
    beta2_end: AdamBeta = 0.99
    """The final value of that decay, reached by a cosine, as in R3GAN."""
    gradient_clip: NonNegativeFloat = 4.0
    """Largest gradient norm of a network, as a multiple of the root mean square of its recent norms
    (averaged as in Adam); 0: no clipping. Use at least the root of `penalty_every_steps`, or it
    weakens a penalty that is applied in some steps only."""
    penalty: Literal["exact", "approximate"] = "exact"
    """How R1 and R2 are computed. exact: by second derivatives; approximate: by finite differences
    in a random direction, for every fourth clip, without second derivatives; it learns more slowly:
    three runs of the quickstart ended at 98.9, 80 and 15.6 % (exact: 98.9 and more). In steps with
    either, the discriminator runs in float32, whatever `precision`."""
    penalty_every_steps: NonNegativeInt = 8
    """Apply R1 and R2 every so many steps, weighted by that number; 0: never."""
    gamma_start: NonNegativeFloat = 40.0
    """Initial weight of R1 and R2. With `standardize`, it is that for 4 frames of 64x64, and is
    scaled by the number of pixels shown, over which the squared gradient is summed."""
    gamma_end: NonNegativeFloat = 4.0
    """Weight of R1 and R2 from `gamma_until` on; log-linear before."""
    gamma_until: Fraction = 0.7
    """Share of the run after which gamma is constant."""
    ema_halflife_clips: PositiveFloat = 5_000.0
    """Half-life of the averaged generator (EMA), in clips."""
    ema_rampup: NonNegativeFloat = 0.1
    """The half-life is at most this share of the clips seen so far; 0: no ramp."""
    precision: Literal["auto", "bf16", "fp16", "no"] = "auto"
    """auto: bfloat16 if the device is fast in it, else float32 (float16 on older GPUs)."""
    gradient_checkpointing: Literal["auto", "on", "off"] = "auto"
    """Recompute activations of residual blocks and full-resolution layers in the backward pass
    instead of keeping them: less memory, same gradients. auto: for frames of 128x128 and more, but
    not with the exact penalty, whose steps would need as much memory."""

    @property
    def recovery_rise(self) -> tuple[float, float]:
        """Shares of the run between which the recovery weight rises."""
        start = self.lr_hold if self.recovery_hold is None else self.recovery_hold
        return start, max(start, self.recovery_until)

    @property
    def num_mismatched_prompts(self) -> int:
        """Number of mismatched prompts per real clip."""
        return max(1, min(self.mismatched_prompts, self.global_batch_size - 1))

    @model_validator(mode="after")
    def check_augment(self) -> "TrainConfig":
        if self.augment != "auto" and not 0 <= self.augment <= 1:
            raise ValueError(f"train.augment={self.augment} must be auto or between 0 and 1")
        return self

    @model_validator(mode="after")
    def check_gamma(self) -> "TrainConfig":
        if self.penalty_every_steps and not (self.gamma_start > 0 and self.gamma_end > 0):
            raise ValueError(
                f"train.gamma_start={self.gamma_start} and train.gamma_end={self.gamma_end} must be"
                " positive; use --train.penalty-every-steps 0 for no penalty"
            )
        return self
