"""Prepare the input of a step: frames, latents and prompts, in micro-batches.

Every draw is made for the whole global batch as a function of (seed, step); a rank then selects its
positions. So 1 process with 8 clips and 2 processes with 4 each train the same model.

The host prepares a step ahead of time, in the loader's thread (`BatchPreparer.build`); the step
itself begins with one copy to the device (`BatchPreparer.load`).
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from t2vgan.data.batch_plan import PENALTY_STRIDE, BatchPlan
from t2vgan.data.loader import Batch
from t2vgan.data.shard_reader import BadSample
from t2vgan.distributed.context import DistributedContext
from t2vgan.gan.augmentation import draw_augmentation
from t2vgan.gan.mismatched_prompts import HardPrompts, draw_partners, keep_own_of_empty
from t2vgan.gan.packed_tensors import Layout, PackedTensors
from t2vgan.gan.schedules import has_penalty
from t2vgan.tokenizer import EMPTY, PADDING_ID, Vocabulary
from t2vgan.utils.seeds import derive_seed, random_generator
from t2vgan.video import to_video


@dataclass(frozen=True)
class MicroBatch:
    """Hold B clips of K frames each, on the device."""

    real_video: Tensor
    """(B, 3, K, H, W) in [-1, 1]."""
    token_ids: Tensor
    """(B, L) int64: row i is the prompt of real clip i and of generated clip i."""
    token_mask: Tensor
    """(B, L) bool."""
    mismatched_ids: Tensor
    """(B, M, L) int64: other clips' prompts, or a hard one; may by chance equal the clip's own."""
    mismatched_mask: Tensor
    """(B, M, L) bool."""
    times: Tensor
    """(B, K): each frame's time, 0 at the clip's first frame and 1 at its last."""
    discriminator_latents: Tensor
    """(B, *latent_shape): latents of the clips generated for the discriminator's update."""
    generator_latents: Tensor
    """(B, *latent_shape): latents of the clips generated for the generator's update."""
    augmentation: Tensor
    """(B, 6): each pair's augmentation in both updates; (B, 0) without augmentation."""
    penalty_noise: Tensor
    """(B / 4, 2, 3, K, H, W): normal noise of the approximate penalty for every fourth real and
    generated clip; (0,) in a step without it."""
    fake_video: Tensor | None = None
    """(B, 3, K, H, W): clips for both updates, with their autograd graph; None: each update
    generates its own."""
    real_logits: Tensor | None = None
    """(B,): the real clips' logits from the discriminator's update; None before it."""
    other_fakes: Tensor | None = None
    """(B, 3, K, H, W): clips generated for the discriminator's update, detached; None before it, or
    if no loss needs them."""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The tensors by their names."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def conditions(self) -> tuple[Tensor, Tensor, Tensor]:
        """The arguments that generator and discriminator share."""
        return self.token_ids, self.token_mask, self.times

    def slice(self, rows: slice) -> "MicroBatch":
        """Return a slice of clips.

        If the batch has penalty noise, the slice must start at a multiple of 4.
        """
        every_fourth = slice(*(-(-row // PENALTY_STRIDE) for row in (rows.start, rows.stop)))
        parts = {
            name: values[every_fourth if name == "penalty_noise" else rows]
            for name, values in self.tensors.items()
        }
        return replace(self, **parts)


Tensors = Sequence[Tensor]


@dataclass(frozen=True)
class StepInputs:
    """Hold a step's input on the device, before it is micro-batches.

    `split` makes micro-batches of the tensors. It only computes on the device, so that a CUDA graph
    can hold it.
    """

    tensors: Tensors
    split: Callable[[Tensors], list[MicroBatch]]
    layout: Hashable
    """What `split` depends on, besides the tensors."""

    @classmethod
    def of(cls, batch: Sequence[MicroBatch]) -> "StepInputs":
        """Return inputs that consist of micro-batches."""
        names = [list(part.tensors) for part in batch]

        def split(tensors: Tensors) -> list[MicroBatch]:
            values = iter(tensors)
            return [MicroBatch(**{name: next(values) for name in own}) for own in names]

        tensors = [tensor for part in batch for tensor in part.tensors.values()]
        return cls(tensors, split, tuple(map(tuple, names)))

    def micro_batches(self) -> list[MicroBatch]:
        """Return the micro-batches."""
        return self.split(self.tensors)


@dataclass(frozen=True)
class HostBatch:
    """A rank's part of one global batch, ready for the device."""

    step: int
    keys: list[str]
    bad_samples: list[BadSample]
    tensors: PackedTensors


@dataclass(frozen=True)
class BatchPreparer:
    """Turn a rank's part of a batch into micro-batches on the device."""

    context: DistributedContext
    vocabulary: Vocabulary
    hard_prompts: HardPrompts
    plan: BatchPlan
    seed: int
    frames_per_clip: int
    latent_shape: tuple[int, ...]
    shares_latents: bool
    """Whether both updates of a step use the same latents."""
    num_tokens: int
    """Length of the data's longest prompt in tokens."""
    mismatched_prompts: int = 1
    """Number of mismatched prompts per clip."""
    near_window_share: float = 0.0
    """Share of clips for which nearby frames are chosen."""
    augmented_share: float = 0.0
    """Share of clips to which each kind of augmentation is applied."""
    noise_every_steps: int = 0
    """Interval in steps of the approximate penalty; 0: none."""

    @property
    def device(self) -> torch.device:
        """The device of the micro-batches."""
        return self.context.device

    def build(self, batch: Batch) -> HostBatch:
        """Draw the step's frames, latents and mismatched prompts.

        Uses neither communication nor a device, so any thread may call it.
        """
        frame_ids = self.choose_frames(batch)  # B K
        frames = batch.frames[np.arange(len(frame_ids))[:, None], frame_ids]
        num_frames = batch.frames.shape[1]
        discriminator_latents = self.draw_latents(batch, "discriminator")
        tensors = {
            "frames": torch.from_numpy(frames),
            "times": (torch.from_numpy(frame_ids) / max(1, num_frames - 1)).float(),
            "discriminator_latents": discriminator_latents,
            "generator_latents": discriminator_latents
            if self.shares_latents
            else self.draw_latents(batch, "generator"),
            "augmentation": self.draw_augmentation(batch),
            "penalty_noise": self.draw_penalty_noise(batch),
            **self.draw_prompts(batch),
        }
        packed = PackedTensors.pack(tensors, is_pinned=self.device.type == "cuda")
        return HostBatch(batch.step, batch.keys, batch.bad_samples, packed)

    def load(self, batch: HostBatch) -> StepInputs:
        """Copy a batch to the device, and gather other ranks' prompts (collective).

        The host waits neither for the device nor for other ranks' hosts.
        """
        packed = batch.tensors.to(self.device)
        token_ids = self.context.gather_rows(packed["token_ids"])
        split = partial(self.split, packed.layout)
        return StepInputs([packed.buffer, token_ids], split, packed.layout)

    def split(self, layout: Layout, inputs: Tensors) -> list[MicroBatch]:
        """Make micro-batches of a packed batch and all ranks' token ids."""
        buffer, every_id = inputs
        tensors = PackedTensors(buffer, layout).unpack()
        own_ids, sources = tensors.pop("token_ids"), tensors.pop("mismatched_sources")
        candidates = torch.cat([every_id, tensors.pop("hard_ids")])
        drawn_ids = candidates.index_select(0, sources.flatten())
        drawn_ids = drawn_ids.unflatten(0, sources.shape)  # B M L
        mismatched_ids = keep_own_of_empty(own_ids, drawn_ids, self.vocabulary.ids.get(EMPTY))
        whole = MicroBatch(
            real_video=to_video(tensors.pop("frames")),
            token_ids=own_ids,
            token_mask=own_ids != PADDING_ID,
            mismatched_ids=mismatched_ids,
            mismatched_mask=mismatched_ids != PADDING_ID,
            **tensors,
        )
        size, num_clips = self.plan.micro_size, len(own_ids)
        if num_clips <= size:
            return [whole]
        return [whole.slice(slice(start, start + size)) for start in range(0, num_clips, size)]

    def draw_of(self, batch: Batch) -> dict[str, Any]:
        """Return the arguments of a step's draws for the global batch."""
        return {"seed": self.seed, "step": batch.step, "num_clips": self.plan.global_size}

    def choose_frames(self, batch: Batch) -> np.ndarray:
        """Return each clip's frame numbers (B, K)."""
        return choose_frames(
            **self.draw_of(batch),
            num_frames=batch.frames.shape[1],
            frames_per_clip=self.frames_per_clip,
            near_window_share=self.near_window_share,
        )[batch.positions]

    def draw_prompts(self, batch: Batch) -> dict[str, Tensor]:
        """Return token ids, and the indices of mismatched prompts.

        Token ids are those of the clips' own prompts, (B, L), and of hard ones, (B, L), of which
        some rows may be padding. A clip's sources (B, M) are the indices of its mismatched prompts
        in the global batch followed by the hard prompts.
        """
        draw = self.draw_of(batch)
        partners = draw_partners(**draw, number=self.mismatched_prompts)
        sources = partners[batch.positions].astype(np.int64)
        hard = self.hard_prompts.draw(batch.prompts, batch.positions, **draw)
        sources[list(hard), 0] = self.plan.global_size + np.arange(len(hard))
        token_ids = self.encode([*batch.prompts, *hard.values()])
        own_ids, some_ids = token_ids.split([len(batch.prompts), len(hard)])
        hard_ids = torch.full_like(own_ids, PADDING_ID)  # a constant size, for CUDA graphs
        hard_ids[: len(hard)] = some_ids
        return {
            "token_ids": own_ids,
            "hard_ids": hard_ids,
            "mismatched_sources": torch.from_numpy(sources),
        }

    def draw_augmentation(self, batch: Batch) -> Tensor:
        """Return each clip's augmentation (B, 6) or (B, 0)."""
        draws = draw_augmentation(**self.draw_of(batch), share=self.augmented_share)
        return torch.from_numpy(draws[batch.positions])

    def draw_penalty_noise(self, batch: Batch) -> Tensor:
        """Return the approximate penalty's noise."""
        if not has_penalty(batch.step, self.noise_every_steps):
            return torch.empty(0)
        height, width, num_channels = batch.frames.shape[2:]
        return draw_penalty_noise(
            seed=self.seed,
            step=batch.step,
            positions=batch.positions,
            shape=(num_channels, self.frames_per_clip, height, width),
        )

    def draw_latents(self, batch: Batch, purpose: str) -> Tensor:
        """Return each clip's latents (B, *latent_shape)."""
        latents = draw_latents(**self.draw_of(batch), purpose=purpose, shape=self.latent_shape)
        return latents[torch.from_numpy(batch.positions)]

    def encode(self, prompts: Sequence[str]) -> Tensor:
        """Return padded token ids (B, L)."""
        token_ids, _ = self.vocabulary.encode(prompts, allow_unknown=True, length=self.num_tokens)
        return torch.from_numpy(token_ids)


def choose_frames(
    *,
    seed: int,
    step: int,
    num_clips: int,
    num_frames: int,
    frames_per_clip: int,
    near_window_share: float = 0.0,
) -> np.ndarray:
    """Draw (num_clips, frames_per_clip) sorted frame numbers without repeats.

    For a share of the clips they are every frame or every second frame from a random start; for the
    others they are drawn from the whole clip.
    """
    scores = random_generator(seed, "frames", step).random((num_clips, num_frames))
    spread = np.sort(np.argsort(scores, axis=1)[:, :frames_per_clip], axis=1)
    if not near_window_share or frames_per_clip == 1:
        return spread
    draws = random_generator(seed, "near windows", step).random((num_clips, 3))
    is_near, stride, start = draws[:, 0] < near_window_share, 1 + (draws[:, 1] < 0.5), draws[:, 2]
    steps = frames_per_clip - 1
    stride = np.minimum(stride, (num_frames - 1) // steps)
    first = (start * (num_frames - stride * steps)).astype(np.int64)
    near = first[:, None] + stride[:, None] * np.arange(frames_per_clip)
    return np.where(is_near[:, None], near, spread)


def draw_latents(
    *, seed: int, step: int, purpose: str, num_clips: int, shape: Sequence[int]
) -> Tensor:
    """Return normal latents (num_clips, *shape); the same on every device."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "latents", purpose, step))
    return torch.randn((num_clips, *shape), generator=generator)


def draw_penalty_noise(
    *, seed: int, step: int, positions: np.ndarray, shape: Sequence[int]
) -> Tensor:
    """Return normal noise (N, 2, *shape) for positions divisible by four.

    N of `positions` in the global batch are. Each has its own seed, and noise for the real and the
    generated clip, so a rank draws no more than its share.
    """
    generator = torch.Generator()
    noise = []
    for position in positions:
        if position % PENALTY_STRIDE == 0:
            generator.manual_seed(derive_seed(seed, "penalty noise", step, int(position)))
            noise.append(torch.randn((2, *shape), generator=generator))
    return torch.stack(noise)
