"""What one step sees: real clips, the frames and latents drawn for them, cut into micro-batches.

Every draw is made for the whole global batch as a function of (seed, step); a rank then takes its
places. So 1 process with 8 clips and 2 processes with 4 each train the same model.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from t2vgan.data.loader import Batch
from t2vgan.gan.mismatched_prompts import MismatchedPrompts
from t2vgan.tokenizer import Vocabulary
from t2vgan.utils.seeds import derive_seed, random_generator
from t2vgan.video import to_video


@dataclass(frozen=True)
class MicroBatch:
    """B clips of K frames each, on the device."""

    real_video: Tensor
    """(B, 3, K, H, W) in [-1, 1]."""
    token_ids: Tensor
    """(B, L) int64: row i is the prompt of real clip i, and of the fake that is its pair."""
    token_mask: Tensor
    """(B, L) bool."""
    other_ids: Tensor
    """(B, L) int64: another prompt of the data, by chance sometimes the same."""
    other_mask: Tensor
    """(B, L) bool."""
    times: Tensor
    """(B, K): when each frame is, 0 at the clip's first and 1 at its last."""
    discriminator_latents: Tensor
    """(B, *latent_shape): of the fakes that the discriminator's update sees."""
    generator_latents: Tensor
    """(B, *latent_shape): of the fakes that the generator's update sees."""

    @property
    def conditions(self) -> tuple[Tensor, Tensor, Tensor]:
        """The arguments that generator and discriminator share."""
        return self.token_ids, self.token_mask, self.times

    def slice(self, rows: slice) -> "MicroBatch":
        return MicroBatch(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


def choose_frames(
    *, seed: int, step: int, num_clips: int, num_frames: int, frames_per_clip: int
) -> np.ndarray:
    """Return (num_clips, frames_per_clip) sorted frame numbers, drawn without repeat."""
    scores = random_generator(seed, "frames", step).random((num_clips, num_frames))
    return np.sort(np.argsort(scores, axis=1)[:, :frames_per_clip], axis=1)


def draw_latents(
    *, seed: int, step: int, purpose: str, num_clips: int, shape: Sequence[int]
) -> Tensor:
    """Return normal latents (num_clips, *shape) of one step; the same on every device."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "latents", purpose, step))
    return torch.randn((num_clips, *shape), generator=generator)


def prepare_step(
    batch: Batch,
    vocabulary: Vocabulary,
    other_prompts: MismatchedPrompts,
    *,
    seed: int,
    global_batch_size: int,
    micro_batch_size: int,
    frames_per_clip: int,
    latent_shape: Sequence[int],
    fresh_latents: bool,
    num_tokens: int,
    device: torch.device,
) -> list[MicroBatch]:
    """Draw a step's frames, latents and other prompts; return its micro-batches on the device.

    `num_tokens` is the most words that a prompt of the data has.
    """
    num_frames = batch.frames.shape[1]
    places = torch.from_numpy(batch.positions)
    frame_ids = choose_frames(
        seed=seed,
        step=batch.step,
        num_clips=global_batch_size,
        num_frames=num_frames,
        frames_per_clip=frames_per_clip,
    )[batch.positions]  # B K
    frames = np.take_along_axis(batch.frames, frame_ids[:, :, None, None, None], axis=1)
    others = other_prompts.draw(
        batch.prompts, batch.positions, seed=seed, step=batch.step, num_clips=global_batch_size
    )

    def encode(texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        token_ids, token_mask = vocabulary.encode(texts, allow_unknown=True, length=num_tokens)
        return torch.from_numpy(token_ids).to(device), torch.from_numpy(token_mask).to(device)

    def latents(purpose: str) -> Tensor:
        drawn = draw_latents(
            seed=seed,
            step=batch.step,
            purpose=purpose,
            num_clips=global_batch_size,
            shape=latent_shape,
        )
        return drawn[places].to(device)

    token_ids, token_mask = encode(batch.prompts)
    other_ids, other_mask = encode(others)
    whole = MicroBatch(
        real_video=to_video(torch.from_numpy(frames).to(device)),
        token_ids=token_ids,
        token_mask=token_mask,
        other_ids=other_ids,
        other_mask=other_mask,
        times=(torch.from_numpy(frame_ids) / max(1, num_frames - 1)).float().to(device),
        discriminator_latents=latents("discriminator"),
        generator_latents=latents("generator" if fresh_latents else "discriminator"),
    )
    starts = range(0, len(places), micro_batch_size)
    return [whole.slice(slice(start, start + micro_batch_size)) for start in starts]
