"""Record the actions of `actions` in levels that it never shows."""

from collections.abc import Sequence

from t2vgan.data.shards import Geometry

from ..games.episodes import record_clips
from .actions import FPS, HELD_OUT_LEVELS, HELD_OUT_PROMPTS, PROMPTS, VERSION
from .base import RenderedClips

__all__ = ["FPS", "HELD_OUT_PROMPTS", "PROMPTS", "VERSION", "render_clips"]


def render_clips(clip_indexes: Sequence[int], seed: int, geometry: Geometry) -> RenderedClips:
    """Record clips by index."""
    return record_clips(clip_indexes, seed, geometry, "actions-held-out", HELD_OUT_LEVELS)
