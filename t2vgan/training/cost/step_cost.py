"""Count the cost of a training step on fake tensors, without computing."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from t2vgan.config import ModelConfig, TrainConfig
from t2vgan.data.batch_plan import PENALTY_STRIDE
from t2vgan.distributed.context import DistributedContext
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.gan.batch import MicroBatch, StepInputs
from t2vgan.gan.schedules import has_penalty, noise_every_steps
from t2vgan.models.layers import RGB
from t2vgan.training.cost.op_counter import OpCounter
from t2vgan.training.cost.peak_memory import PeakMemory, count_bytes
from t2vgan.video import to_video


@dataclass(frozen=True)
class StepSizes:
    """Sizes of one backward pass on one process."""

    num_clips: int
    height: int
    width: int
    vocabulary_size: int
    num_tokens: int
    """Length of the longest prompt in tokens."""
    augments: bool = False
    """Whether clips are augmented."""


@dataclass(frozen=True)
class StepCost:
    """Operations, floating-point operations and bytes of one training step."""

    ops: Counter[str]
    """Number of calls by name."""
    launches: int
    """Estimated number of CUDA kernels."""
    flops: Counter[torch.dtype]
    """FLOPs of matrix products and convolutions, by data type."""
    bytes_moved: int
    """Total size of all operations' inputs and outputs."""
    peak_bytes: int
    """Peak size of all tensors: networks, average, optimizers, batch, gradients, activations."""

    def repeat(self, num_micro_batches: int) -> "StepCost":
        """Return the cost of several micro-batches.

        Optimizer updates, of which there is one per step, are counted for each.
        """
        factor = num_micro_batches
        return StepCost(
            ops=Counter({name: factor * number for name, number in self.ops.items()}),
            launches=factor * self.launches,
            flops=Counter({dtype: factor * number for dtype, number in self.flops.items()}),
            bytes_moved=factor * self.bytes_moved,
            peak_bytes=self.peak_bytes,
        )


class LocalContext(DistributedContext):
    """A single process on a given device, without a process group."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.rank, self.world_size, self.is_main = 0, 1, True
        self.cpu_group = None


def estimate_step_costs(
    model: ModelConfig,
    train: TrainConfig,
    sizes: StepSizes,
    precision: torch.dtype,
    *,
    is_whole: bool = True,
) -> dict[str, StepCost]:
    """Count the cost of steps of one micro-batch, "plain" and "penalised".

    `is_whole`: whether the micro-batch is the process's only one in a step. A run without the
    penalty has no penalised steps; one with it in every step has no plain ones. Networks are built
    on the CPU; the steps run on fake tensors, which have shapes and types but no values.
    """
    every = train.penalty_every_steps
    steps = {"plain": 1} if every != 1 else {}
    steps |= {"penalised": every} if every else {}
    device = torch.device("cpu")
    gan = build_training(model, train, sizes, device, precision)
    if not is_whole:
        gan.generate_for_each_update()
    costs = {}
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        convert_to_fake(gan, mode)
        first = StepInputs.of([build_batch(gan, sizes, 1)])
        gan.train_step(first, 1)  # creates the optimizers' state
        for name, step in steps.items():
            batch = build_batch(gan, sizes, step)
            with OpCounter() as counter, PeakMemory() as memory:
                gan.train_step(StepInputs.of([batch]), step)
            costs[name] = StepCost(
                ops=counter.ops,
                launches=counter.launches,
                flops=counter.flops_by_dtype,
                bytes_moved=counter.bytes_moved,
                peak_bytes=count_bytes([list_state(gan), batch.tensors]) + memory.peak,
            )
    return costs


def build_training(
    model: ModelConfig,
    train: TrainConfig,
    sizes: StepSizes,
    device: torch.device,
    precision: torch.dtype | None = None,
) -> AdversarialTraining:
    """Build both networks and their optimizers for one process."""
    return AdversarialTraining(
        model,
        train,
        LocalContext(device),
        height=sizes.height,
        width=sizes.width,
        vocabulary_size=sizes.vocabulary_size,
        precision=precision,
    )


def build_batch(gan: AdversarialTraining, sizes: StepSizes, step: int) -> MicroBatch:
    """Build a micro-batch with the shapes of a step."""
    device, num_clips = gan.context.device, sizes.num_clips
    num_frames = gan.train.frames_per_clip
    frames = torch.zeros(num_clips, num_frames, sizes.height, sizes.width, RGB, dtype=torch.uint8)
    token_ids = torch.ones(num_clips, sizes.num_tokens, dtype=torch.int64)
    mismatched_ids = token_ids.unsqueeze(1).repeat(1, gan.train.num_mismatched_prompts, 1)
    video = to_video(frames)
    latents = torch.zeros(num_clips, *gan.latent_shape)
    has_noise = has_penalty(step, noise_every_steps(gan.train))
    num_moved = len(range(0, num_clips, PENALTY_STRIDE)) if has_noise else 0
    tensors = {
        "real_video": video,
        "token_ids": token_ids,
        "token_mask": token_ids > 0,
        "mismatched_ids": mismatched_ids,
        "mismatched_mask": mismatched_ids > 0,
        "times": torch.zeros(num_clips, num_frames),
        "discriminator_latents": latents,
        "generator_latents": latents.clone(),
        "augmentation": torch.zeros(num_clips, 6 if sizes.augments else 0),
        "penalty_noise": torch.zeros(num_moved, 2, *video.shape[1:]),
    }
    return MicroBatch(**{name: tensor.to(device) for name, tensor in tensors.items()})


def convert_to_fake(gan: AdversarialTraining, mode: FakeTensorMode) -> None:
    """Replace the networks' parameters and buffers by fake tensors."""
    for network in gan.networks.values():
        for module in network.modules():
            for name, parameter in list(module.named_parameters(recurse=False)):
                fake = mode.from_tensor(parameter.detach())
                setattr(module, name, nn.Parameter(fake, parameter.requires_grad))
            for name, buffer in list(module.named_buffers(recurse=False)):
                setattr(module, name, mode.from_tensor(buffer))
    for side in gan.optimizers.values():
        side.gradients.parameters[:] = side.network.parameters()


def list_state(gan: AdversarialTraining) -> list[object]:
    """Return all tensors that persist between steps."""
    networks = [[*network.parameters(), *network.buffers()] for network in gan.networks.values()]
    return [networks, [list(side.optimizer.state.values()) for side in gan.optimizers.values()]]
