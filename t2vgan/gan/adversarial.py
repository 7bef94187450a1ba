"""Train a generator against a discriminator: the step."""

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from t2vgan.config import ClipGanConfig, ModelConfig, TrainConfig
from t2vgan.data.pixel_sums import PixelStatistics
from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.device import choose_precision
from t2vgan.distributed.gradients import FlatGradients
from t2vgan.distributed.stragglers import ComputeTimer
from t2vgan.gan.adversarial_losses import AdversarialLosses, Loss
from t2vgan.gan.augmentation import Augmentation
from t2vgan.gan.batch import MicroBatch, StepInputs
from t2vgan.gan.compilation import compile_network
from t2vgan.gan.ema import Ema
from t2vgan.gan.flat_adam import FlatAdam
from t2vgan.gan.metrics import AddedValues, MetricAccumulator
from t2vgan.gan.networks import build_networks, move_network, needs_gradient_checkpointing
from t2vgan.gan.optimizer import NetworkOptimizer
from t2vgan.gan.schedules import Length, Schedule, compute_progress, compute_schedule
from t2vgan.gan.step_graph import Step, StepGraphs
from t2vgan.models.checkpointing import enable_gradient_checkpointing
from t2vgan.models.layers import RGB

REFERENCE_PIXELS = 4 * 64 * 64
"""Number of pixels of a clip for which gamma is given."""

LossFunction = Callable[[MicroBatch, Schedule], Loss]


class Computed(NamedTuple):
    """Results of a gradient computation, besides the gradients."""

    loss: Tensor
    """(), the sum of the micro-batches' means."""
    kept: Sequence[Mapping[str, Tensor]]
    """For each micro-batch, the tensors that the next update needs."""
    added: Sequence[AddedValues]
    """Values to be added to the metrics."""


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
        precision: torch.dtype | None = None,
        graphs: StepGraphs | None = None,
    ) -> None:
        """Build the networks; `precision` defaults to that of `train`."""
        self.train = train
        self.camera_variation = model.camera_variation if isinstance(model, ClipGanConfig) else 0.0
        self.context = context
        self.precision = precision or choose_precision(train.precision, context.device)
        generator, discriminator = build_networks(
            model,
            train,
            height=height,
            width=width,
            vocabulary_size=vocabulary_size,
            pixels=pixels,
        )
        if needs_gradient_checkpointing(train, height, width):
            enable_gradient_checkpointing(generator)
            enable_gradient_checkpointing(discriminator)
        self.latent_shape: tuple[int, ...] = generator.latent_shape(train.frames_per_clip)
        self.generator = self._with_optimizer("generator", generator, train.generator_lr)
        self.discriminator = self._with_optimizer(
            "discriminator", discriminator, train.discriminator_lr
        )
        self.metrics = MetricAccumulator(context)
        self.losses = self._create_losses(height, width)
        self.ema = Ema(self.generator.network)
        self.compute_timer = ComputeTimer(context.device)
        self.graphs = graphs
        """CUDA graphs of the steps' parts; None: steps run without graphs."""
        self.keeps_fakes = model.shares_latents
        """Whether a step of one micro-batch generates clips once, and keeps their graph."""
        self.lengths: list[Length] = [(0, train.num_steps)]
        """Run lengths that the schedules follow, saved in checkpoints."""

    def _with_optimizer(
        self, name: str, network: nn.Module, learning_rate: float
    ) -> NetworkOptimizer:
        network = move_network(network, self.context.device)
        gradients = FlatGradients(network.parameters(), self.context)
        betas = (self.train.beta1, self.train.beta2_start)
        grad_scaler = torch.amp.GradScaler(
            self.context.device.type, enabled=self.precision == torch.float16
        )
        return NetworkOptimizer(
            name=name,
            network=network,
            gradients=gradients,
            optimizer=FlatAdam(gradients, learning_rate, betas),
            grad_scaler=grad_scaler,
            gradient_clip=self.train.gradient_clip,
        )

    def _create_losses(self, height: int, width: int) -> AdversarialLosses:
        pixel_std = torch.ones(RGB, 1, 1, 1, device=self.context.device)
        pixel_mean = torch.zeros_like(pixel_std)
        penalty_scale = 1.0
        if self.train.standardize:
            network = self.discriminator.network
            pixel_mean, pixel_std = map(network.get_buffer, ("pixels.mean", "pixels.std"))
            penalty_scale = self.train.frames_per_clip * height * width / REFERENCE_PIXELS
        return AdversarialLosses(
            train=self.train,
            generator=self.generator,
            discriminator=self.discriminator,
            augment=Augmentation(pixel_mean, pixel_std),
            metrics=self.metrics,
            precision=self.precision,
            pixel_std=pixel_std,
            penalty_scale=penalty_scale,
            clips_per_rank=self.train.global_batch_size // self.context.world_size,
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

    def set_lengths(self, lengths: Sequence[Length]) -> None:
        """Set the run lengths that the schedules follow."""
        self.lengths = list(lengths)

    def generate_for_each_update(self) -> None:
        """Generate clips anew for each update, as with several micro-batches."""
        self.keeps_fakes = False

    def compile_networks(self, *, is_optional: bool = False) -> None:
        """Compile both trained networks, but not the averaged one.

        With `is_optional`, functions that fail to compile run uncompiled.
        """
        for side in self.optimizers.values():
            compile_network(side.network, is_optional=is_optional)
        self.losses.compile(is_optional=is_optional)

    # --- the step --------------------------------------------------------------------------------

    def train_step(self, inputs: StepInputs, step: int) -> None:
        """Update the discriminator, the generator and its average."""
        parts = self.begin_step(inputs, step)  # on a GPU each is a CUDA graph
        batch = self.add_fakes(parts.run("micro-batches", parts.inputs.micro_batches))
        batch = self.update(self.discriminator, self.losses.discriminator_loss, batch, parts)
        self.update(self.generator, self.losses.generator_loss, batch, parts)
        added = self.metrics.pop_added()
        parts.run("average and metrics", lambda: self.end_step(parts.schedule, added))

    def begin_step(self, inputs: StepInputs, step: int) -> Step:
        """Set the step's schedule; return what runs its parts."""
        schedule = self.set_schedule(step)
        return self.graphs.begin(inputs, schedule) if self.graphs else Step(inputs, schedule)

    def add_fakes(self, batch: Sequence[MicroBatch]) -> Sequence[MicroBatch]:
        """Generate clips once if both updates can share them.

        They are not shared over several micro-batches, whose activations would all have to be kept;
        nor with CUDA graphs, which capture each update separately; nor if the latents differ. Each
        update then generates its own clips.
        """
        if len(batch) > 1 or self.graphs is not None or not self.keeps_fakes:
            return batch
        with self.compute_timer.measure():
            return [
                replace(part, fake_video=self.losses.generate(part, part.generator_latents))
                for part in batch
            ]

    def update(
        self, side: NetworkOptimizer, loss: LossFunction, batch: Sequence[MicroBatch], parts: Step
    ) -> list[MicroBatch]:
        """Take one optimizer step on the mean loss over the global batch.

        Returns the batch with the tensors that the next update needs.
        """
        schedule = parts.schedule
        with self.compute_timer.measure():
            computed = parts.run(
                f"{side.name} gradients",
                lambda: self.compute_gradients(side, loss, batch, schedule),
            )
        self.metrics.added += computed.added
        side.gradients.average()
        norm, nonfinite = parts.run(
            f"{side.name} clipping", lambda: side.prepare(computed.loss, schedule.beta2)
        )
        side.apply(nonfinite)
        # An overflow caused by loss scaling says nothing about the gradient.
        add = self.metrics.add_finite if side.grad_scaler.is_enabled() else self.metrics.add
        add(f"gradient_norm/{side.name}", norm)
        return [
            replace(micro_batch, **kept)
            for micro_batch, kept in zip(batch, computed.kept, strict=True)
        ]

    def compute_gradients(
        self,
        side: NetworkOptimizer,
        loss: LossFunction,
        batch: Sequence[MicroBatch],
        schedule: Schedule,
    ) -> Computed:
        """Fill the buffer with this rank's gradients of the mean loss."""
        self.discriminator.copy_weights(self.precision)
        self.discriminator.requires_grad_(side is self.discriminator)
        side.clear_gradients()
        means, all_kept = [], []
        with self.metrics.set_apart() as added:
            for micro_batch in batch:
                values, kept = loss(micro_batch, schedule)
                mean = values.mean()
                share = share_unless_nonfinite(mean, 1 / len(batch))
                mean.backward(side.grad_scaler.scale(share))
                side.add_gradients_of_copies()
                means.append(mean.detach())
                all_kept.append(kept)
        side.gradients.collect()
        return Computed(functools.reduce(torch.add, means), all_kept, added)

    def end_step(self, schedule: Schedule, added: Sequence[AddedValues]) -> None:
        """Update the average and the metrics."""
        weights = self.generator.optimizer.weights
        self.ema.update(self.generator.network, schedule.ema_weight, weights)
        self.metrics.add_to_totals(added)

    # --- schedules, updates that were not finite --------------------------------------------------

    def schedule(self, step: int) -> Schedule:
        """Return the scheduled values of a step."""
        return compute_schedule(self.train, self.camera_variation, step, self.progress(step))

    def progress(self, step: int) -> float:
        """Return the progress of the schedules at a step, 0 to 1."""
        return compute_progress(self.lengths, step)

    def schedule_metrics(self, step: int) -> dict[str, float]:
        """Return the scheduled values of a step by their names in metrics.jsonl."""
        return self.schedule(step).metrics()

    def set_schedule(self, step: int) -> Schedule:
        """Set optimizers and camera to a step's schedule, and return it."""
        schedule = self.schedule(step)
        for side, learning_rate in (
            (self.generator, schedule.generator_lr),
            (self.discriminator, schedule.discriminator_lr),
        ):
            side.set_schedule(learning_rate, (schedule.beta1, float(schedule.beta2)))
        if schedule.camera_std is not None:
            self.generator.network.get_buffer("camera_std").fill_(schedule.camera_std)
        return schedule

    def gather_nonfinite(self) -> dict[str, list[bool]]:
        """Return which updates since the last call were nonfinite, by network.

        A flag is set if any rank's was. Collective; waits for the device.
        """
        found = {}
        for name, side in self.optimizers.items():
            flags, side.nonfinite = side.nonfinite, []
            shares = self.context.mean(torch.stack(flags)) if flags else torch.empty(0)
            found[name] = (shares > 0).tolist()
        return found


def share_unless_nonfinite(loss: Tensor, share: float) -> Tensor:
    """Return the share as the gradient of a loss, ().

    It is NaN if the loss is nonfinite, because an infinite loss can have finite gradients. All
    gradients then become NaN, and the all-reduce propagates them to every rank.
    """
    return loss.detach() * 0 + share
