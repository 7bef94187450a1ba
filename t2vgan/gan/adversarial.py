"""The adversarial game: two networks, their losses, and the step that updates both."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from t2vgan.config import ClipGanConfig, ModelConfig, TrainConfig
from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.device import choose_precision
from t2vgan.gan.batch import MicroBatch
from t2vgan.gan.ema import Ema
from t2vgan.gan.losses import OBJECTIVES, gradient_penalty, latent_recovery, mismatched
from t2vgan.gan.metrics import MetricAccumulator
from t2vgan.gan.optimizer import NetworkOptimizer
from t2vgan.gan.schedules import cosine, log_linear
from t2vgan.models import build_discriminator, build_generator
from t2vgan.models.layers import to_float32
from t2vgan.utils.seeds import derive_seed


class AdversarialTraining:
    """Generator against discriminator, and the generator's average that samples."""

    def __init__(
        self,
        model: ModelConfig,
        train: TrainConfig,
        processes: DistributedContext,
        *,
        height: int,
        width: int,
        vocabulary_size: int,
    ) -> None:
        self.train = train
        self.camera_variation = model.camera_variation if isinstance(model, ClipGanConfig) else 0.0
        self.processes = processes
        self.precision = choose_precision(train.precision, processes.device)
        self.objective = OBJECTIVES[train.loss]
        sizes = {"height": height, "width": width, "vocabulary_size": vocabulary_size}
        torch.manual_seed(derive_seed(train.seed, "weights"))  # the same weights on every rank
        generator = build_generator(model, **sizes)
        discriminator = build_discriminator(
            model,
            **sizes,
            frames_per_clip=train.frames_per_clip,
            recovered_latents=train.recovered_latents,
        )
        self.latent_shape: tuple[int, ...] = generator.latent_shape(train.frames_per_clip)
        self.generator = self._player("generator", generator, train.generator_lr)
        self.discriminator = self._player("discriminator", discriminator, train.discriminator_lr)
        self.ema = Ema(self.generator.network, train.ema_halflife_clips, train.ema_rampup)
        self.clips_seen = 0
        self.penalty_weight = 0.0
        self.recovery_weight = 0.0
        self.batch: Sequence[MicroBatch] = ()
        self.notes = MetricAccumulator(processes)
        self.kept_fakes: Tensor | None = None

    def _player(self, name: str, network: nn.Module, learning_rate: float) -> NetworkOptimizer:
        network = network.to(self.processes.device)
        optimizer = torch.optim.Adam(
            network.parameters(),
            learning_rate,
            betas=(self.train.beta1, self.train.beta2_start),
            fused=True,
        )
        scaler = torch.amp.GradScaler(
            self.processes.device.type, enabled=self.precision == torch.float16
        )
        return NetworkOptimizer(
            name=name,
            network=network,
            wrapped=self.processes.wrap(network),
            optimizer=optimizer,
            scaler=scaler,
            gradient_clip=self.train.gradient_clip,
        )

    @property
    def modules(self) -> dict[str, nn.Module]:
        """Every network that a checkpoint holds."""
        return {
            "generator": self.generator.network,
            "discriminator": self.discriminator.network,
            "generator_ema": self.ema.model,
        }

    @property
    def players(self) -> dict[str, NetworkOptimizer]:
        return {player.name: player for player in (self.generator, self.discriminator)}

    # --- the step --------------------------------------------------------------------------------

    def play(self, batch: Sequence[MicroBatch], step: int) -> None:
        """Train one step on a rank's micro-batches of global batch `step`."""
        self.batch = batch
        self.clips_seen = step * self.train.global_batch_size
        self.set_schedule(step)
        self.train_step()

    def train_step(self) -> None:
        """Update the discriminator, the generator and its average, once each."""
        self.discriminator.network.requires_grad_(True)
        self.update(self.discriminator, self.discriminator_loss)
        self.discriminator.network.requires_grad_(False)
        self.update(self.generator, self.generator_loss)
        self.ema.update(self.generator.network, self.train.global_batch_size, self.clips_seen)

    def update(self, player: NetworkOptimizer, loss: Callable[[MicroBatch], Tensor]) -> None:
        """Take one optimizer step on the loss's mean over the global batch."""
        means = []
        for index, micro_batch in enumerate(self.batch, start=1):
            is_last = index == len(self.batch)
            with self.processes.accumulate(player.wrapped, is_last=is_last):
                mean = nan_unless_finite(loss(micro_batch).mean()) / len(self.batch)
                player.scaler.scale(mean).backward()
            means.append(mean.detach())
        norm = player.step(torch.stack(means).sum())
        self.notes.add(f"gradient_norm/{player.name}", norm)

    def discriminator_loss(self, batch: MicroBatch) -> Tensor:
        """Return (B,): the objective, prompts and latents told apart, in some steps R1 + R2.

        The penalty is weighted for the steps that go without; it and all of its step are in
        float32, where second derivatives live.
        """
        penalised = self.penalty_weight > 0
        fake_video = self.fakes_for_discriminator(batch)
        video = torch.cat([batch.real_video, to_float32(fake_video)]).requires_grad_(penalised)
        with nullcontext() if penalised else self.autocast():
            (real_logits, fake_logits, *other_logits), recovered = self.judge(video, batch)
        loss = self.objective.discriminator(real_logits, fake_logits)
        self.notes.add("loss/discriminator", loss)
        self.notes.add("logits/real", real_logits)
        self.notes.add("logits/fake", fake_logits)
        if other_logits:
            is_other = (batch.token_ids != batch.other_ids).any(1)
            told_apart = mismatched(real_logits, other_logits[0], is_other)
            self.notes.add("loss/mismatched", told_apart)
            loss = loss + self.train.mismatched_weight * told_apart
        loss = loss + self.recovery(recovered, batch.discriminator_latents)
        if penalised:
            r1, r2 = gradient_penalty(torch.cat([real_logits, fake_logits]), video).chunk(2)
            self.notes.add("penalty", r1 + r2)
            loss = loss + self.penalty_weight / 2 * (r1 + r2)
        return loss

    def fakes_for_discriminator(self, batch: MicroBatch) -> Tensor:
        """Return fakes without their graph; it is kept where the generator is to use the same ones.

        With the same latents the generator, which stands still meanwhile, would draw them again: a
        tenth of the notebook's step. Several micro-batches' graphs would fill the memory that
        micro-batches are there to save.
        """
        keep = not self.train.fresh_latents and len(self.batch) == 1
        network = self.generator.wrapped if keep else self.generator.network
        with torch.set_grad_enabled(keep), self.autocast():
            fake_video = network(batch.discriminator_latents, *batch.conditions)
        self.kept_fakes = fake_video if keep else None
        return fake_video.detach()

    def judge(self, video: Tensor, batch: MicroBatch) -> tuple[Sequence[Tensor], Tensor]:
        """Return logits (B,) of B real clips and of B fakes that follow them in `video`.

        Where the mismatched term is on, a third (B,): the real clips with other prompts. And the
        latents recovered from the fakes, (B, R).
        """
        token_ids = [batch.token_ids, batch.token_ids]
        token_mask = [batch.token_mask, batch.token_mask]
        if self.train.mismatched_weight > 0:
            token_ids.append(batch.other_ids)
            token_mask.append(batch.other_mask)
        times = torch.cat([batch.times, batch.times])
        logits, recovered = self.discriminator.wrapped(
            video, torch.cat(token_ids), torch.cat(token_mask), times
        )
        num_clips = len(batch.real_video)
        return to_float32(logits).split(num_clips), recovered[num_clips:]

    def generator_loss(self, batch: MicroBatch) -> Tensor:
        """Return (B,): each fake against the real clip of the same prompt."""
        fake_video, self.kept_fakes = self.kept_fakes, None
        with self.autocast():
            if fake_video is None:
                fake_video = self.generator.wrapped(batch.generator_latents, *batch.conditions)
            fake_logits, recovered = self.discriminator.network(fake_video, *batch.conditions)
        real_logits = self.real_logits_for_generator(batch)
        loss = self.objective.generator(real_logits, to_float32(fake_logits))
        self.notes.add("loss/generator", loss)
        return loss + self.recovery(recovered, batch.generator_latents)

    def recovery(self, recovered: Tensor, latents: Tensor) -> Tensor:
        """Return (B,): both networks' common task, latents that can be read back from the clips."""
        if not self.train.recovered_latents:
            return torch.zeros(len(recovered), device=recovered.device)
        loss = latent_recovery(recovered, latents)
        self.notes.add("recovery/loss", loss)
        return self.recovery_weight * loss

    @torch.no_grad()
    def real_logits_for_generator(self, batch: MicroBatch) -> Tensor:
        """Return the real clips' logits (B,), or zeros where the objective does not use them."""
        if not self.objective.generator_needs_real:
            return torch.zeros(len(batch.real_video), device=batch.real_video.device)
        with self.autocast():
            return to_float32(self.discriminator.network(batch.real_video, *batch.conditions)[0])

    # --- schedules, precision, bad updates --------------------------------------------------------

    def schedule(self, step: int) -> dict[str, float]:
        """Return the scheduled values of a step, by the name they are logged under."""
        train = self.train
        progress = step / train.num_steps
        decay = cosine(progress, start=1.0, end=train.lr_final, hold=train.lr_hold)
        rise = cosine(progress, start=0.0, end=1.0, hold=train.lr_hold)
        gamma = 0.0
        if train.penalty_every_steps:
            gamma = log_linear(
                progress, start=train.gamma_start, end=train.gamma_end, until=train.gamma_until
            )
        camera = {"camera/std": self.camera_variation * rise} if self.camera_variation else {}
        return {
            "lr/generator": train.generator_lr * decay,
            "lr/discriminator": train.discriminator_lr * decay,
            "beta2": cosine(progress, start=train.beta2_start, end=train.beta2_end),
            "gamma": gamma,
            "recovery/weight": train.recovery_weight * rise,
            "ema/halflife": self.ema.halflife(step * train.global_batch_size),
            **camera,
        }

    def set_schedule(self, step: int) -> None:
        schedule = self.schedule(step)
        betas = (self.train.beta1, schedule["beta2"])
        for name, player in self.players.items():
            player.set_schedule(learning_rate=schedule[f"lr/{name}"], betas=betas)
        every = self.train.penalty_every_steps
        self.recovery_weight = schedule["recovery/weight"]
        if "camera/std" in schedule:
            self.generator.network.get_buffer("camera_std").fill_(schedule["camera/std"])
        self.penalty_weight = every * schedule["gamma"] if every and step % every == 0 else 0.0

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context of mixed precision; nothing in float32."""
        if self.precision == torch.float32:
            return nullcontext()
        return torch.autocast(self.processes.device.type, self.precision)

    def read_bad(self) -> dict[str, list[bool]]:
        """Return and forget, for each network's updates, whether any rank found them bad.

        Collective; waits for the device.
        """
        found = {}
        for name, player in self.players.items():
            flags, player.bad = player.bad, []
            shares = self.processes.mean(torch.stack(flags).float()) if flags else torch.empty(0)
            found[name] = (shares > 0).tolist()
        return found


def nan_unless_finite(loss: Tensor) -> Tensor:
    """Return the loss, such that one that is not finite makes every gradient NaN.

    An infinite loss may well have finite gradients. Averaging then tells every rank.
    """
    return loss * torch.where(loss.detach().isfinite(), 1.0, torch.nan)
