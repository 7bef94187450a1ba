"""Render the clips of `shapes` over textures."""

from collections.abc import Sequence

import numpy as np

from t2vgan.data.shards import Geometry

from .base import RenderedClips
from .shapes import HELD_OUT_PROMPTS, PROMPTS, render_over
from .textures import textures

__all__ = ["HELD_OUT_PROMPTS", "PROMPTS", "VERSION", "render_clips"]

VERSION = "2"


def render_clips(
    clip_indexes: Sequence[int], seed: int, geometry: Geometry, *, prompts: Sequence[str] = ()
) -> RenderedClips:
    """Render clips by index; `prompts` replaces the drawn ones."""
    ground = textures(clip_indexes, seed, geometry)
    frames = np.repeat(ground[:, None], geometry.num_frames, axis=1)
    return render_over(frames, clip_indexes, seed, geometry, prompts=prompts)
