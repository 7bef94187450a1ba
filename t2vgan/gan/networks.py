"""Build the two networks of a training."""

from typing import Any

import torch
from torch import nn

from t2vgan.config import ModelConfig, TrainConfig
from t2vgan.data.pixel_sums import PixelStatistics
from t2vgan.gan.losses import OBJECTIVES
from t2vgan.models import build_discriminator, build_generator
from t2vgan.models.clip_gan import Generator
from t2vgan.models.layers import RGB
from t2vgan.models.notebook_gan import NotebookGenerator
from t2vgan.utils.seeds import derive_seed

CHECKPOINTED_PIXELS = 128 * 128
"""Number of pixels of a frame from which on "auto" uses gradient checkpointing."""


def build_networks(
    model: ModelConfig,
    train: TrainConfig,
    *,
    height: int,
    width: int,
    vocabulary_size: int,
    pixels: PixelStatistics | None = None,
) -> tuple[Generator | NotebookGenerator, nn.Module]:
    """Build generator and discriminator, with the same weights on every rank.

    Raises:
        UserError: the frame size does not fit the model.
    """
    sizes: dict[str, Any] = {"height": height, "width": width, "vocabulary_size": vocabulary_size}
    if pixels:
        sizes |= {"pixel_mean": pixels.mean, "pixel_std": (pixels.std,) * RGB}
    torch.manual_seed(derive_seed(train.seed, "weights"))
    generator = build_generator(model, **sizes)
    discriminator = build_discriminator(
        model,
        **sizes,
        frames_per_clip=train.frames_per_clip,
        recovered_latents=train.recovered_latents,
        mismatched_prompts=train.num_mismatched_prompts,
        trains_offset=not OBJECTIVES[train.loss].is_relative,
    )
    return generator, discriminator


def move_network(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device.

    On a GPU, convolution weights get the memory format of the maps, channels_last: otherwise cuDNN
    would convert each weight in every pass, and its gradient back.
    """
    if device.type == "cpu":
        return network
    return network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def needs_gradient_checkpointing(train: TrainConfig, height: int, width: int) -> bool:
    """Return whether both networks use gradient checkpointing.

    `auto` disables it with the exact penalty, whose steps need the most memory either way.
    """
    if train.gradient_checkpointing != "auto":
        return train.gradient_checkpointing == "on"
    saves = train.penalty == "approximate" or not train.penalty_every_steps
    return saves and height * width >= CHECKPOINTED_PIXELS
