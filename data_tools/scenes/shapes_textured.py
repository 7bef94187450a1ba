"""Moving Shapes over textures: clip for clip the objects of `shapes`, and harder to see."""

from collections.abc import Sequence

import numpy as np

from t2vgan.data.shards import Geometry

from . import RenderedClips
from .shapes import HELD_OUT_PROMPTS, PROMPTS, render_over
from .textures import textures

__all__ = ["HELD_OUT_PROMPTS", "PROMPTS", "VERSION", "render_clips"]

VERSION = "2"


def render_clips(
    clip_indexes: Sequence[int],
    seed: int,
    geometry: Geometry,
    *,
    prompts: Sequence[str] | None = None,
) -> RenderedClips:
    """Render the clips of a data set by index; `prompts` replaces those drawn for them."""
    ground = textures(clip_indexes, seed, geometry)
    frames = np.repeat(ground[:, None], geometry.num_frames, axis=1)
    return render_over(frames, clip_indexes, seed, prompts=prompts)
