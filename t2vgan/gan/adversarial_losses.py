"""Compute both networks' losses on a micro-batch, and log their parts."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from t2vgan.config import TrainConfig
from t2vgan.data.batch_plan import PENALTY_STRIDE
from t2vgan.gan.augmentation import Augmentation
from t2vgan.gan.batch import MicroBatch
from t2vgan.gan.losses import (
    OBJECTIVES,
    PENALTY_SHIFT,
    Objective,
    approximate_gradient_penalty,
    gradient_penalty,
    latent_recovery,
    mismatched,
)
from t2vgan.gan.metrics import MetricAccumulator
from t2vgan.gan.optimizer import NetworkOptimizer
from t2vgan.gan.schedules import Schedule
from t2vgan.models.layers import to_float32


class Scores(NamedTuple):
    """Logits of B pairs of a real and a generated clip."""

    real: Tensor
    """(B,)."""
    fake: Tensor
    """(B,)."""
    mismatched: Tensor | None
    """(B,), of the real clips with mismatched prompts; None without that term."""
    shifted: Tensor | None
    """(2, B / 4), of every fourth real and generated clip, moved by noise; None without noise."""
    recovered: Tensor
    """(B, R), latents predicted from the generated clips."""


@dataclass
class AdversarialLosses:
    """Hold both networks, and what their losses need."""

    train: TrainConfig
    generator: NetworkOptimizer
    discriminator: NetworkOptimizer
    augment: Augmentation
    metrics: MetricAccumulator
    precision: torch.dtype
    """Of autocast; float32 means none."""
    pixel_std: Tensor
    """Unit of the penalty and of gradients to the pixels, (3, 1, 1, 1)."""
    penalty_scale: float
    """Factor of gamma for the number of pixels shown."""
    clips_per_rank: int
    """Of each global batch."""

    @property
    def objective(self) -> Objective:
        """The functions of `train.loss`."""
        return OBJECTIVES[self.train.loss]

    def discriminator_loss(self, batch: MicroBatch, schedule: Schedule) -> Tensor:
        """Return the discriminator's loss (B,).

        The objective, the mismatched term, latent recovery and, in some steps, R1 + R2.

        In a step with the penalty the discriminator is in float32, where second derivatives live.
        """
        penalised = schedule.penalty_weight > 0
        with torch.no_grad(), self.autocast():
            fake_video = self.generator.network(batch.discriminator_latents, *batch.conditions)
        video = torch.cat([batch.real_video, to_float32(fake_video)])
        video.requires_grad_(penalised and self.train.penalty == "exact")
        with nullcontext() if penalised else self.autocast():
            scores = self.discriminate(video, batch)
        loss = self.objective.discriminator(scores.real, scores.fake)
        self.metrics.add("loss/discriminator", loss)
        self.metrics.add("logits/real", scores.real)
        self.metrics.add("logits/fake", scores.fake)
        if scores.mismatched is not None:
            is_mismatched = (batch.token_ids != batch.mismatched_ids).any(1)
            mismatched_loss = mismatched(scores.real, scores.mismatched, is_mismatched)
            self.metrics.add("loss/mismatched", mismatched_loss, counts=is_mismatched)
            loss = loss + self.train.mismatched_weight * mismatched_loss
        loss = loss + self.recovery_loss(scores.recovered, batch.discriminator_latents, schedule)
        if penalised:
            weight = self.penalty_scale * schedule.penalty_weight
            loss = loss + weight / 2 * self.penalty(video, scores)
        return loss

    def penalty(self, video: Tensor, scores: Scores) -> Tensor:
        """Return R1 + R2 of each pair (B,), exact or approximate.

        The approximate one is the mean of every fourth pair's.
        """
        if scores.shifted is None:
            logits = torch.cat([scores.real, scores.fake])
            r1, r2 = gradient_penalty(logits, video, self.pixel_std).chunk(2)
            self.metrics.add("penalty", r1 + r2)
            return r1 + r2
        logits = torch.stack([scores.real, scores.fake])[:, ::PENALTY_STRIDE]  # 2 Q
        values = approximate_gradient_penalty(logits, scores.shifted).sum(0)  # Q
        self.metrics.add("penalty", values)
        return values.mean().expand(len(scores.real))

    def discriminate(self, video: Tensor, batch: MicroBatch) -> Scores:
        """Score real and generated clips, and what losses need, in one pass.

        video (2B, C, T, H, W), B real clips first. Where the mismatched term is on, real clips are
        scored with mismatched prompts too; where there is noise, every fourth clip is moved by it.
        """
        clips = [slice(None), slice(None)]  # of the batch, real and generated
        videos = [video]
        num_moved = len(batch.penalty_noise)
        if num_moved:
            moved = slice(None, None, PENALTY_STRIDE)
            noise = PENALTY_SHIFT * self.pixel_std * batch.penalty_noise  # Q 2 C T H W
            videos += [
                part[moved] + shift
                for part, shift in zip(video.chunk(2), noise.unbind(1), strict=True)
            ]
            clips += [moved, moved]
        times, draws, token_ids, token_mask = (
            [values[rows] for rows in clips]
            for values in (batch.times, batch.augmentation, batch.token_ids, batch.token_mask)
        )
        has_mismatched = self.train.mismatched_weight > 0
        if has_mismatched:
            token_ids.append(batch.mismatched_ids)
            token_mask.append(batch.mismatched_mask)
        logits, recovered = self.discriminator.network(
            self.augment(torch.cat(videos), torch.cat(draws)),
            torch.cat(token_ids),
            torch.cat(token_mask),
            torch.cat(times),
        )
        num_clips = len(batch.real_video)
        sizes = [num_clips, num_clips, 2 * num_moved, num_clips if has_mismatched else 0]
        real, fake, shifted, mismatched_logits = to_float32(logits).split(sizes)
        return Scores(
            real=real,
            fake=fake,
            mismatched=mismatched_logits if has_mismatched else None,
            shifted=shifted.view(2, -1) if num_moved else None,
            recovered=recovered[num_clips : 2 * num_clips],
        )

    def generator_loss(self, batch: MicroBatch, schedule: Schedule) -> Tensor:
        """Return the generator's loss (B,), against real clips of the same prompts."""
        discriminator = self.discriminator.network
        prompts = (batch.token_ids, batch.token_mask)
        text = discriminator.encode_text(*prompts)  # type: ignore[operator]  # once for both videos
        with self.autocast():
            fake_video = self.generator.network(batch.generator_latents, *batch.conditions)
            fake_video = self.augment(fake_video, batch.augmentation)
            fake_logits, recovered = discriminator(fake_video, *batch.conditions, text)
        self.log_video_gradient(fake_video)
        loss = self.objective.generator(self.real_logits(batch, text), to_float32(fake_logits))
        self.metrics.add("loss/generator", loss)
        return loss + self.recovery_loss(recovered, batch.generator_latents, schedule)

    def log_video_gradient(self, fake_video: Tensor) -> None:
        """Log the gradient norm of each clip's loss to its pixels.

        In units of the data's standard deviation. Logged when the backward pass, of a mean over
        this rank's clips, reaches the video.
        """
        loss_scale = self.generator.grad_scaler.scale(torch.ones((), device=fake_video.device))

        def log(gradient: Tensor) -> None:
            standard = to_float32(gradient) * self.pixel_std
            norms = torch.linalg.vector_norm(standard.flatten(1), dim=1)
            self.metrics.add("gradient_norm/video", norms * self.clips_per_rank / loss_scale)

        if fake_video.requires_grad:
            fake_video.register_hook(log)

    def recovery_loss(self, recovered: Tensor, latents: Tensor, schedule: Schedule) -> Tensor:
        """Return the weighted squared error of the recovered latents (B,)."""
        if not self.train.recovered_latents:
            return torch.zeros(len(recovered), device=recovered.device)
        loss = latent_recovery(recovered, latents)
        self.metrics.add("recovery/loss", loss)
        return schedule.recovery_weight * loss

    @torch.no_grad()
    def real_logits(self, batch: MicroBatch, text: tuple[Tensor, ...] | None) -> Tensor:
        """Return the real clips' logits (B,); zeros where the objective ignores them.

        `text` holds the codes of their prompts, where they are known already.
        """
        if not self.objective.generator_needs_real:
            return torch.zeros(len(batch.real_video), device=batch.real_video.device)
        with self.autocast():
            real_video = self.augment(batch.real_video, batch.augmentation)
            return to_float32(self.discriminator.network(real_video, *batch.conditions, text)[0])

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of mixed precision; a null context in float32."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.pixel_std.device.type, self.precision)
