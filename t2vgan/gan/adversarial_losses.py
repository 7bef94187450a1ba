"""Compute both networks' losses on a micro-batch, and log their parts."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from t2vgan.config import TrainConfig
from t2vgan.data.batch_plan import PENALTY_STRIDE
from t2vgan.gan.augmentation import Augmentation
from t2vgan.gan.batch import MicroBatch
from t2vgan.gan.compilation import CompiledFunction
from t2vgan.gan.losses import (
    OBJECTIVES,
    PENALTY_SHIFT,
    Objective,
    approximate_gradient_penalty,
    gradient_penalty,
    latent_recovery,
    mismatched,
    mode_seeking,
)
from t2vgan.gan.metrics import MetricAccumulator
from t2vgan.gan.optimizer import NetworkOptimizer
from t2vgan.gan.schedules import Schedule
from t2vgan.models.checkpointing import keep_activations
from t2vgan.models.layers import to_float32


class Loss(NamedTuple):
    """A network's loss, and tensors for the next update."""

    values: Tensor
    """(B,)."""
    kept: Mapping[str, Tensor]
    """Fields to set in the `MicroBatch` for the next update, detached."""


class DiscriminatorOutput(NamedTuple):
    """Logits of B pairs of a real and a generated clip."""

    real: Tensor
    """(B,)."""
    fake: Tensor
    """(B,)."""
    mismatched: Tensor | None
    """(B, M), logits of the real clips with mismatched prompts; None without that term."""
    penalty: Tensor | None
    """R1 + R2 of each pair (B,); if approximate, the mean for every pair. None: no penalty."""
    recovered: Tensor
    """(B, R), latents predicted from the generated clips."""


@dataclass
class AdversarialLosses:
    """Compute the losses of both networks."""

    train: TrainConfig
    generator: NetworkOptimizer
    discriminator: NetworkOptimizer
    augment: Augmentation
    metrics: MetricAccumulator
    precision: torch.dtype
    """The type of autocast; float32 disables it."""
    pixel_std: Tensor
    """Unit of the pixels in the gradient penalty and logged gradient norms, (3, 1, 1, 1)."""
    penalty_scale: float
    """Factor on gamma that accounts for the number of pixels in a clip."""
    clips_per_rank: int
    """Number of clips of a global batch on each rank."""
    is_compiled: bool = False
    """Whether the networks are compiled."""

    @property
    def objective(self) -> Objective:
        """The functions of `train.loss`."""
        return OBJECTIVES[self.train.loss]

    def compile(self, *, is_optional: bool) -> None:
        """Compile the exact penalty as one function.

        A double backward through a compiled network is not supported.
        """
        compiled: Any = CompiledFunction(self.score_with_gradients, is_optional=is_optional)
        self.score_with_gradients = compiled  # type: ignore[method-assign]
        self.is_compiled = True

    def generate(self, batch: MicroBatch, latents: Tensor) -> Tensor:
        """Generate one clip for each real clip, (B, 3, K, H, W)."""
        if batch.fake_video is not None:
            return batch.fake_video
        self.generator.copy_weights(self.precision)
        with self.autocast():
            video: Tensor = self.generator.network(latents, *batch.conditions)
        return video

    def discriminator_loss(self, batch: MicroBatch, schedule: Schedule) -> Loss:
        """Return the discriminator's loss.

        It consists of the objective, the mismatched term, latent recovery and, in some steps,
        R1 + R2. In steps with the penalty the discriminator runs in float32.
        """
        penalty = self.train.penalty if schedule.is_penalised else None
        with torch.no_grad():
            fake_video = to_float32(self.generate(batch, batch.discriminator_latents)).detach()
        video = torch.cat([batch.real_video, fake_video])
        with nullcontext() if penalty else self.autocast():
            scores = self.discriminate(video, batch, penalty)
        loss = self.objective.discriminator(scores.real, scores.fake)
        self.metrics.add("loss/discriminator", loss)
        self.metrics.add("logits/real", scores.real)
        self.metrics.add("logits/fake", scores.fake)
        if scores.mismatched is not None:
            is_mismatched = (batch.token_ids.unsqueeze(1) != batch.mismatched_ids).any(2)
            mismatched_loss = mismatched(scores.real, scores.mismatched, is_mismatched)
            self.metrics.add("loss/mismatched", mismatched_loss, counts=is_mismatched.any(1))
            loss = loss + self.train.mismatched_weight * mismatched_loss
        loss = loss + self.recovery_loss(scores.recovered, batch.discriminator_latents, schedule)
        if scores.penalty is not None:
            self.metrics.add("penalty", scores.penalty)
            weight = self.penalty_scale * schedule.penalty_weight
            loss = loss + weight / 2 * scores.penalty
        kept = {"real_logits": scores.real.detach()}
        if self.train.mode_seeking_weight:
            kept["other_fakes"] = fake_video
        return Loss(loss, kept)

    def discriminate(
        self, video: Tensor, batch: MicroBatch, penalty: str | None
    ) -> DiscriminatorOutput:
        """Compute all logits that the loss needs in one forward pass.

        video (2B, C, T, H, W), B real clips first. With the mismatched term, real clips are also
        scored with mismatched prompts; with the approximate penalty, every fourth clip is also
        scored with noise added.
        """
        videos, clips = [video], [slice(None)] * 2  # rows of the real and of the generated clips
        if penalty == "approximate":
            moved = slice(None, None, PENALTY_STRIDE)
            shifts = (PENALTY_SHIFT * self.pixel_std * batch.penalty_noise).unbind(1)
            videos += [
                part[moved] + shift for part, shift in zip(video.chunk(2), shifts, strict=True)
            ]
            clips += [moved] * 2
        times, draws, token_ids, token_mask = (
            [values[rows] for rows in clips]
            for values in (batch.times, batch.augmentation, batch.token_ids, batch.token_mask)
        )
        has_mismatched = self.train.mismatched_weight > 0
        if has_mismatched:
            prompts = batch.mismatched_ids, batch.mismatched_mask
            for values, others in zip((token_ids, token_mask), prompts, strict=True):
                values.append(others.transpose(0, 1).flatten(0, 1))  # (M B): first prompts first
        inputs = [*map(concatenate, (videos, draws, token_ids, token_mask, times))]
        squared_norms = None
        if penalty == "exact":
            with keep_activations(self.discriminator.network):
                squared_norms, (logits, recovered) = self.score_with_gradients(*inputs)
        else:
            logits, recovered = self.score(*inputs)
        num_clips, num_moved = len(batch.real_video), len(inputs[0]) - len(video)
        num_prompts = batch.mismatched_ids.shape[1] if has_mismatched else 0
        sizes = [num_clips, num_clips, num_moved, num_prompts * num_clips]
        real, fake, shifted, mismatched_logits = to_float32(logits).split(sizes)
        if penalty == "approximate":
            own = torch.cat([real[::PENALTY_STRIDE], fake[::PENALTY_STRIDE]])
            squared_norms = approximate_gradient_penalty(own, shifted).mean().expand(len(video))
        return DiscriminatorOutput(
            real=real,
            fake=fake,
            mismatched=mismatched_logits.view(-1, num_clips).T if has_mismatched else None,
            penalty=None if squared_norms is None else squared_norms.view(2, -1).sum(0),
            recovered=recovered[num_clips : 2 * num_clips],
        )

    def score(
        self, video: Tensor, draws: Tensor, token_ids: Tensor, token_mask: Tensor, times: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Augment clips and score them; shapes as in `Discriminator`."""
        network = self.discriminator.network
        score: Callable[..., tuple[Tensor, Tensor]] = network
        if torch.compiler.is_compiling():  # not the compiled forward, and no hooks
            score = partial(type(network).forward, network)
        return score(self.augment(video, draws), token_ids, token_mask, times)

    def score_with_gradients(
        self, video: Tensor, draws: Tensor, *conditions: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return the clips' squared gradient norms, and the output of `score`.

        The gradient is that of the logits with the clips' own prompts, which come first.
        """

        def score(video: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            logits, recovered = self.score(video, draws, *conditions)
            return to_float32(logits)[: len(video)], (logits, recovered)

        return gradient_penalty(score, video, self.pixel_std)

    def generator_loss(self, batch: MicroBatch, schedule: Schedule) -> Loss:
        """Return the generator's loss, against real clips of the same prompts.

        It consists of the objective, latent recovery and mode seeking. The real clips' logits are
        reused from the discriminator's update: scoring them again would cost 7 % of a step
        (dev/LOG.md).
        """
        assert batch.real_logits is not None, "the discriminator's update comes first"
        fake_video = self.generate(batch, batch.generator_latents)
        with self.autocast():
            # A view: its gradient hook sees the gradient through the discriminator only.
            shown = self.augment(fake_video.view_as(fake_video), batch.augmentation)
            logits, recovered = self.discriminator.network(shown, *batch.conditions)
        self.log_video_gradient(shown)
        loss = self.objective.generator(batch.real_logits, to_float32(logits))
        self.metrics.add("loss/generator", loss)
        loss = loss + self.recovery_loss(recovered, batch.generator_latents, schedule)
        if batch.other_fakes is not None:
            from_other, from_real = (
                (to_float32(fake_video) - video) / self.pixel_std
                for video in (batch.other_fakes, batch.real_video)
            )
            latents = batch.generator_latents - batch.discriminator_latents
            seeking = mode_seeking(from_other, from_real, latents)
            self.metrics.add("mode_seeking/loss", seeking)
            loss = loss + self.train.mode_seeking_weight * seeking
        return Loss(loss, {})

    def log_video_gradient(self, fake_video: Tensor) -> None:
        """Log the norm of each clip's gradient with respect to its pixels.

        Pixels are in units of the data's standard deviation. A hook logs it in the backward pass
        of a mean over this rank's clips, so norms are multiplied by their number.
        """
        scaler, loss_scale = self.generator.grad_scaler, None
        if scaler.is_enabled():
            loss_scale = scaler.scale(torch.ones((), device=fake_video.device))

        def log(gradient: Tensor) -> None:
            standard = gradient * self.pixel_std  # float32
            norms = torch.linalg.vector_norm(standard, dim=(1, 2, 3, 4)) * self.clips_per_rank
            if loss_scale is None:
                self.metrics.add("gradient_norm/video", norms)
            else:
                self.metrics.add_finite("gradient_norm/video", norms / loss_scale)

        if fake_video.requires_grad:
            fake_video.register_hook(log)

    def recovery_loss(self, recovered: Tensor, latents: Tensor, schedule: Schedule) -> Tensor:
        """Return the weighted squared error of the recovered latents (B,)."""
        if not self.train.recovered_latents:
            return torch.zeros(len(recovered), device=recovered.device)
        loss = latent_recovery(recovered, latents)
        self.metrics.add("recovery/loss", loss)
        return schedule.recovery_weight * loss

    def autocast(self) -> AbstractContextManager[object]:
        """Return the autocast context; a null context in float32."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.pixel_std.device.type, self.precision)


def concatenate(parts: list[Tensor]) -> Tensor:
    """Concatenate tensors; a single one is not copied."""
    return torch.cat(parts) if len(parts) > 1 else parts[0]
