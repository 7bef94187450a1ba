"""Build networks from their configs."""

from collections.abc import Sequence

import torch
from torch import nn

from t2vgan.config import ClipGanConfig, ModelConfig
from t2vgan.models.clip_gan import Generator
from t2vgan.models.discriminator import Discriminator
from t2vgan.models.layers import NO_MEAN, UNIT_STD
from t2vgan.models.notebook_gan import NotebookDiscriminator, NotebookGenerator


def build_generator(
    model: ModelConfig,
    *,
    height: int,
    width: int,
    vocabulary_size: int,
    pixel_mean: Sequence[float] = NO_MEAN,
    pixel_std: Sequence[float] = UNIT_STD,
) -> Generator | NotebookGenerator:
    """Build the generator of a model config.

    `pixel_mean` and `pixel_std` are those of the data's channels, in [-1, 1]; the notebook's
    networks ignore them, as published.
    """
    generator: Generator | NotebookGenerator
    if isinstance(model, ClipGanConfig):
        generator = Generator(
            model,
            height=height,
            width=width,
            vocabulary_size=vocabulary_size,
            pixel_mean=pixel_mean,
            pixel_std=pixel_std,
        )
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
    mismatched_prompts: int = 1,
    trains_offset: bool = True,
    pixel_mean: Sequence[float] = NO_MEAN,
    pixel_std: Sequence[float] = UNIT_STD,
) -> nn.Module:
    """Build the discriminator of a model config, for clips of `frames_per_clip` frames.

    It also predicts the first `recovered_latents` latents of a fake, and scores real clips with
    `mismatched_prompts` prompts besides their own. `trains_offset`: whether the bias common to all
    logits is trained. `pixel_mean` and `pixel_std` are as in `build_generator`.
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
            mismatched_prompts=mismatched_prompts,
            trains_offset=trains_offset,
            pixel_mean=pixel_mean,
            pixel_std=pixel_std,
        )
    else:
        discriminator = NotebookDiscriminator(height=height, width=width)
    return discriminator.to(memory_format=torch.channels_last)
