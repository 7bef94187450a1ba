"""Train a generator against a discriminator: the step and both losses."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from t2vgan.config import ClipGanConfig, ModelConfig, TrainConfig
from t2vgan.data.pixel_sums import PixelStatistics
from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.device import choose_precision
from t2vgan.gan.augmentation import Augmentation
from t2vgan.gan.batch import MicroBatch
from t2vgan.gan.ema import Ema
from t2vgan.gan.losses import OBJECTIVES, gradient_penalty, latent_recovery, mismatched
from t2vgan.gan.metrics import MetricAccumulator
from t2vgan.gan.optimizer import NetworkOptimizer
from t2vgan.gan.schedules import Length, Schedule, compute_progress, compute_schedule
from t2vgan.models import build_discriminator, build_generator
from t2vgan.models.layers import RGB, to_float32
from t2vgan.utils.seeds import derive_seed

REFERENCE_PIXELS = 4 * 64 * 64
"""Of a clip for which gamma is given."""

Loss = Callable[[MicroBatch, Schedule], Tensor]


class AdversarialTraining:
    """Hold generator, discriminator and the averaged generator, and train them."""

    def __init__(
        self,
        model: ModelConfig,
        train: TrainConfig,
        context: DistributedContext,
        *,
        height: int,
        width: int,
        vocabulary_size: int,
        pixels: PixelStatistics | None = None,
    ) -> None:
        self.train = train
        self.camera_variation = model.camera_variation if isinstance(model, ClipGanConfig) else 0.0
        self.context = context
        self.precision = choose_precision(train.precision, context.device)
        self.objective = OBJECTIVES[train.loss]
        sizes: dict[str, Any] = {
            "height": height,
            "width": width,
            "vocabulary_size": vocabulary_size,
        }
        if pixels:
            sizes |= {"pixel_mean": pixels.mean, "pixel_std": (pixels.std,) * RGB}
        torch.manual_seed(derive_seed(train.seed, "weights"))  # the same weights on every rank
        generator = build_generator(model, **sizes)
        discriminator = build_discriminator(
            model,
            **sizes,
            frames_per_clip=train.frames_per_clip,
            recovered_latents=train.recovered_latents,
        )
        self.latent_shape: tuple[int, ...] = generator.latent_shape(train.frames_per_clip)
        self.generator = self._with_optimizer("generator", generator, train.generator_lr)
        self.discriminator = self._with_optimizer(
            "discriminator", discriminator, train.discriminator_lr
        )
        self.pixel_std = torch.ones(RGB, 1, 1, 1, device=context.device)
        """Unit of the penalty and of gradients to the pixels."""
        self.penalty_scale = 1.0
        pixel_mean = torch.zeros_like(self.pixel_std)
        if train.standardize:
            network = self.discriminator.network
            pixel_mean, self.pixel_std = map(network.get_buffer, ("pixels.mean", "pixels.std"))
            self.penalty_scale = train.frames_per_clip * height * width / REFERENCE_PIXELS
        self.augment = Augmentation(pixel_mean, self.pixel_std)
        self.ema = Ema(self.generator.network, train.ema_halflife_clips, train.ema_rampup)
        self.metrics = MetricAccumulator(context)
        self.lengths: list[Length] = [(0, train.num_steps)]
        """Lengths that the schedules follow; a checkpoint holds them."""

    def _with_optimizer(
        self, name: str, network: nn.Module, learning_rate: float
    ) -> NetworkOptimizer:
        network = network.to(self.context.device)
        optimizer = torch.optim.Adam(
            network.parameters(),
            learning_rate,
            betas=(self.train.beta1, self.train.beta2_start),
            fused=True,
        )
        grad_scaler = torch.amp.GradScaler(
            self.context.device.type, enabled=self.precision == torch.float16
        )
        return NetworkOptimizer(
            name=name,
            network=network,
            ddp=self.context.wrap(network),
            optimizer=optimizer,
            grad_scaler=grad_scaler,
            gradient_clip=self.train.gradient_clip,
        )

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Every network that a checkpoint holds."""
        return {
            "generator": self.generator.network,
            "discriminator": self.discriminator.network,
            "generator_ema": self.ema.model,
        }

    @property
    def optimizers(self) -> dict[str, NetworkOptimizer]:
        """The two trained networks with their optimizers, by name."""
        return {side.name: side for side in (self.generator, self.discriminator)}

    @property
    def loss_scales(self) -> dict[str, dict[str, int | float]]:
        """State of each network's gradient scaler; empty dicts outside float16."""
        return {name: side.grad_scaler.state_dict() for name, side in self.optimizers.items()}

    # --- the step --------------------------------------------------------------------------------

    def train_step(self, batch: Sequence[MicroBatch], step: int) -> None:
        """Update the discriminator, the generator and its average, once each."""
        schedule = self.set_schedule(step)
        self.discriminator.network.requires_grad_(True)
        self.update(self.discriminator, self.discriminator_loss, batch, schedule)
        self.discriminator.network.requires_grad_(False)
        self.update(self.generator, self.generator_loss, batch, schedule)
        num_clips = self.train.global_batch_size
        self.ema.update(self.generator.network, num_clips, clips_seen=step * num_clips)

    def update(
        self,
        side: NetworkOptimizer,
        loss: Loss,
        batch: Sequence[MicroBatch],
        schedule: Schedule,
    ) -> None:
        """Take one optimizer step on the loss's mean over the global batch."""
        means = []
        for index, micro_batch in enumerate(batch, start=1):
            with self.context.accumulate(side.ddp, is_last=index == len(batch)):
                mean = nan_unless_finite(loss(micro_batch, schedule).mean()) / len(batch)
                side.grad_scaler.scale(mean).backward()
            means.append(mean.detach())
        norm = side.step(torch.stack(means).sum())
        self.metrics.add(f"gradient_norm/{side.name}", norm)

    def discriminator_loss(self, batch: MicroBatch, schedule: Schedule) -> Tensor:
        """Return the discriminator's loss (B,).

        The objective, the mismatched term, latent recovery and, in some steps, R1 + R2.

        In a step with the penalty the discriminator is in float32, where second derivatives live.
        """
        penalised = schedule.penalty_weight > 0
        with torch.no_grad(), self.autocast():
            fake_video = self.generator.network(batch.discriminator_latents, *batch.conditions)
        video = torch.cat([batch.real_video, to_float32(fake_video)]).requires_grad_(penalised)
        with nullcontext() if penalised else self.autocast():
            (real_logits, fake_logits, *mismatched_logits), recovered = self.discriminate(
                video, batch
            )
        loss = self.objective.discriminator(real_logits, fake_logits)
        self.metrics.add("loss/discriminator", loss)
        self.metrics.add("logits/real", real_logits)
        self.metrics.add("logits/fake", fake_logits)
        if mismatched_logits:
            is_mismatched = (batch.token_ids != batch.mismatched_ids).any(1)
            mismatched_loss = mismatched(real_logits, mismatched_logits[0], is_mismatched)
            self.metrics.add("loss/mismatched", mismatched_loss, counts=is_mismatched)
            loss = loss + self.train.mismatched_weight * mismatched_loss
        loss = loss + self.recovery_loss(recovered, batch.discriminator_latents, schedule)
        if penalised:
            logits = torch.cat([real_logits, fake_logits])
            r1, r2 = gradient_penalty(logits, video, self.pixel_std).chunk(2)
            self.metrics.add("penalty", r1 + r2)
            weight = self.penalty_scale * schedule.penalty_weight
            loss = loss + weight / 2 * (r1 + r2)
        return loss

    def discriminate(self, video: Tensor, batch: MicroBatch) -> tuple[tuple[Tensor, ...], Tensor]:
        """Return logits of B real and B generated clips, and recovered latents.

        Shapes: video (2B, C, T, H, W), real clips first; logits two times (B,), and where the
        mismatched term is on a third (B,), of the real clips with mismatched prompts; the latents
        recovered from the generated clips (B, R).
        """
        token_ids = [batch.token_ids, batch.token_ids]
        token_mask = [batch.token_mask, batch.token_mask]
        if self.train.mismatched_weight > 0:
            token_ids.append(batch.mismatched_ids)
            token_mask.append(batch.mismatched_mask)
        times = torch.cat([batch.times, batch.times])
        draws = torch.cat([batch.augmentation, batch.augmentation])
        logits, recovered = self.discriminator.ddp(
            self.augment(video, draws), torch.cat(token_ids), torch.cat(token_mask), times
        )
        num_clips = len(batch.real_video)
        return to_float32(logits).split(num_clips), recovered[num_clips:]

    def generator_loss(self, batch: MicroBatch, schedule: Schedule) -> Tensor:
        """Return the generator's loss (B,), against real clips of the same prompts."""
        with self.autocast():
            fake_video = self.generator.ddp(batch.generator_latents, *batch.conditions)
            fake_video = self.augment(fake_video, batch.augmentation)
            fake_logits, recovered = self.discriminator.network(fake_video, *batch.conditions)
        self.log_video_gradient(fake_video)
        loss = self.objective.generator(self.real_logits(batch), to_float32(fake_logits))
        self.metrics.add("loss/generator", loss)
        return loss + self.recovery_loss(recovered, batch.generator_latents, schedule)

    def log_video_gradient(self, fake_video: Tensor) -> None:
        """Log the gradient norm of each clip's loss to its pixels.

        In units of the data's standard deviation. Logged when the backward pass, of a mean over
        this rank's clips, reaches the video.
        """
        num_clips = self.train.global_batch_size // self.context.world_size
        loss_scale = self.generator.grad_scaler.scale(torch.ones((), device=fake_video.device))

        def log(gradient: Tensor) -> None:
            standard = to_float32(gradient) * self.pixel_std
            norms = torch.linalg.vector_norm(standard.flatten(1), dim=1)
            self.metrics.add("gradient_norm/video", norms * num_clips / loss_scale)

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
    def real_logits(self, batch: MicroBatch) -> Tensor:
        """Return the real clips' logits (B,); zeros where the objective ignores them."""
        if not self.objective.generator_needs_real:
            return torch.zeros(len(batch.real_video), device=batch.real_video.device)
        with self.autocast():
            real_video = self.augment(batch.real_video, batch.augmentation)
            return to_float32(self.discriminator.network(real_video, *batch.conditions)[0])

    # --- schedules, precision, updates that were not finite ---------------------------------------

    def schedule(self, step: int) -> Schedule:
        """Return the scheduled values of a step."""
        return compute_schedule(self.train, self.camera_variation, step, self.progress(step))

    def progress(self, step: int) -> float:
        """Return the progress of the schedules at a step, 0 to 1."""
        return compute_progress(self.lengths, step)

    def schedule_metrics(self, step: int) -> dict[str, float]:
        """Return the scheduled values of a step by their names in metrics.jsonl."""
        halflife = self.ema.halflife(step * self.train.global_batch_size)
        return {**self.schedule(step).metrics(), "ema/halflife": halflife}

    def set_schedule(self, step: int) -> Schedule:
        """Set optimizers and camera to a step's schedule, and return it."""
        schedule = self.schedule(step)
        for side, learning_rate in (
            (self.generator, schedule.generator_lr),
            (self.discriminator, schedule.discriminator_lr),
        ):
            side.set_schedule(learning_rate=learning_rate, betas=schedule.betas)
        if schedule.camera_std is not None:
            self.generator.network.get_buffer("camera_std").fill_(schedule.camera_std)
        return schedule

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of mixed precision; a null context in float32."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.context.device.type, self.precision)

    def gather_nonfinite(self) -> dict[str, list[bool]]:
        """Return a flag for each update since the last call: nonfinite?

        By network, over all ranks. Collective; waits for the device.
        """
        found = {}
        for name, side in self.optimizers.items():
            flags, side.nonfinite = side.nonfinite, []
            shares = self.context.mean(torch.stack(flags).float()) if flags else torch.empty(0)
            found[name] = (shares > 0).tolist()
        return found


def nan_unless_finite(loss: Tensor) -> Tensor:
    """Return the loss; where it is not finite, make every gradient NaN.

    An infinite loss may well have finite gradients. The all-reduce then propagates the
    NaN to every rank.
    """
    return loss * torch.where(loss.detach().isfinite(), 1.0, torch.nan)
