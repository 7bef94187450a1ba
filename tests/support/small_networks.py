"""Small networks of every kind, and inputs for them."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from t2vgan.config import ClipGanConfig
from t2vgan.models import build_discriminator, build_generator

SMALL = ClipGanConfig(latent_size=5, text_size=6, hidden_size=14, channels=4)
RICH = SMALL.model_copy(
    update={
        "pixel_channels": 3,
        "pooled_features": True,
        "moments": True,
        "text_encoder": "transformer",
        "text_size": 16,
    }
)
SPRITES = SMALL.model_copy(update={"num_sprites": 1})
FULL = RICH.model_copy(update={"num_sprites": 2, "camera_variation": 0.1})
PHRASES = FULL.model_copy(update={"num_sprites": 1, "max_phrases": 2})
SCENE = SMALL.model_copy(
    update={
        "pixel_channels": 3,
        "smooth_patches": True,
        "scene_scale": 1.5,
        "motion_channels": 3,
    }
)
KINDS = {
    "small": SMALL,
    "rich": RICH,
    "sprites": SPRITES,
    "sprites and a camera": FULL,
    "phrases": PHRASES,
    "a scene and motion": SCENE,
}
# All sizes differ, so that no permuted tensor passes by accident.
B, L, K, H, W, R, VOCABULARY = 7, 3, 4, 32, 48, 2, 11


def prompts() -> tuple[Tensor, Tensor]:
    token_ids = torch.randint(1, VOCABULARY, (B, L))
    token_ids[0, 1:] = 0
    return token_ids, token_ids > 0


def times() -> Tensor:
    return torch.rand(B, K).sort(1).values


def small_generator(model: ClipGanConfig = SMALL, **pixels: Sequence[float]) -> nn.Module:
    return build_generator(model, height=H, width=W, vocabulary_size=VOCABULARY, **pixels)


def small_discriminator(model: ClipGanConfig = SMALL, **pixels: Sequence[float]) -> nn.Module:
    return build_discriminator(
        model,
        height=H,
        width=W,
        vocabulary_size=VOCABULARY,
        frames_per_clip=K,
        recovered_latents=R,
        **pixels,
    )
