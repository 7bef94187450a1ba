"""Draw light, smooth, low-contrast backgrounds that stand still during a clip."""

from collections.abc import Sequence

import numpy as np

from t2vgan.data.shards import Geometry

from .base import clip_numbers

NUM_WAVES = 4
BRIGHTNESS = (215, 235)  # mean grey level
TINT = 8  # maximum offset of each channel
AMPLITUDE = (4, 7)  # of one wave; at most 28 in total
WAVES_ACROSS = (0.5, 3)  # along the frame's shorter side
LEVEL_STEP = 4  # grey levels: looks smooth, and halves the bytes of a film strip


def textures(clip_indexes: Sequence[int], seed: int, geometry: Geometry) -> np.ndarray:
    """Return tinted plane waves for each clip, (N, H, W, 3) uint8."""
    numbers = clip_numbers(clip_indexes, seed, "textures")
    waves = clip_numbers(clip_indexes, seed, "waves of textures").reshape(-1, NUM_WAVES, 4)
    direction, rate, phase, strength = np.moveaxis(waves, 2, 0)
    angle = 2 * np.pi * direction
    turns = 2 * np.pi * _between(rate, WAVES_ACROSS) / min(geometry.height, geometry.width)
    x, y = np.arange(geometry.width), np.arange(geometry.height)
    # exp(i (kx x + ky y)) is a product: two vectors instead of a plane of cosines
    along_x = np.exp(1j * ((turns * np.cos(angle))[..., None] * x + 2 * np.pi * phase[..., None]))
    along_y = np.exp(1j * ((turns * np.sin(angle))[..., None] * y))
    along_y *= _between(strength, AMPLITUDE)[..., None]
    height_map = np.einsum("nwy,nwx->nyx", along_y, along_x).real
    tint = _between(numbers[:, :1], BRIGHTNESS) + _between(numbers[:, 1:4], (-TINT, TINT))
    ground = height_map[..., None] + tint[:, None, None]
    return (np.rint(ground.clip(0, 255) / LEVEL_STEP) * LEVEL_STEP).clip(0, 255).astype(np.uint8)


def _between(numbers: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Return numbers in [0, 1) scaled to the given limits."""
    low, high = limits
    return low + (high - low) * numbers
