"""Networks. Each generator draws a video, each discriminator judges one.

`generator(latents, token_ids, token_mask, times) -> video (B, 3, K, H, W)` and
`discriminator(video, token_ids, token_mask, times) -> logits (B,), recovered latents (B, R)`, where
times (B, K) runs from 0 at a clip's first frame to 1 at its last, and
`generator.latent_shape(num_frames)` says what one clip's latents look like.
"""

import torch
from torch import nn

from t2vgan.config import ClipGanConfig, ModelConfig
from t2vgan.models.clip_gan import Discriminator, Generator
from t2vgan.models.notebook_gan import NotebookDiscriminator, NotebookGenerator


def build_generator(
    model: ModelConfig, *, height: int, width: int, vocabulary_size: int
) -> Generator | NotebookGenerator:
    """Return the generator that `model` describes."""
    generator: Generator | NotebookGenerator
    if isinstance(model, ClipGanConfig):
        generator = Generator(model, height=height, width=width, vocabulary_size=vocabulary_size)
    else:
        generator = NotebookGenerator(height=height, width=width, vocabulary_size=vocabulary_size)
    return generator.to(memory_format=torch.channels_last)


def build_discriminator(
    model: ModelConfig,
    *,
    height: int,
    width: int,
    vocabulary_size: int,
    frames_per_clip: int,
    recovered_latents: int,
) -> nn.Module:
    """Return the discriminator that `model` describes, for clips of `frames_per_clip` frames.

    It also reads back the first `recovered_latents` of a fake's latents.
    """
    discriminator: nn.Module
    if isinstance(model, ClipGanConfig):
        discriminator = Discriminator(
            model,
            height=height,
            width=width,
            vocabulary_size=vocabulary_size,
            frames_per_clip=frames_per_clip,
            recovered_latents=recovered_latents,
        )
    else:
        discriminator = NotebookDiscriminator(
            height=height,
            width=width,
            frames_per_clip=frames_per_clip,
            recovered_latents=recovered_latents,
        )
    return discriminator.to(memory_format=torch.channels_last)
