"""Record a player who holds an action in a Freedoom level.

The levels of `actions_held_out` are never shown here, so that it can serve as a test set.
"""

from collections.abc import Sequence

from t2vgan.data.shards import Geometry

from ..games.engine import installed_version
from ..games.episodes import record_clips
from ..games.recording import TICS_PER_FRAME, TICS_PER_SECOND
from .base import RenderedClips

VERSION = f"1 vizdoom {installed_version()}"
FPS = TICS_PER_SECOND / TICS_PER_FRAME
PROMPTS: tuple[str, ...] = ()
HELD_OUT_PROMPTS: tuple[str, ...] = ()
HELD_OUT_LEVELS = ("MAP04", "MAP08", "MAP12", "MAP13", "MAP20", "MAP24", "MAP28", "MAP32")
LEVELS = tuple(
    level
    for level in (f"MAP{number:02d}" for number in range(1, 33))
    if level not in (*HELD_OUT_LEVELS, "MAP30")  # a single arena that spawns monsters
)


def render_clips(clip_indexes: Sequence[int], seed: int, geometry: Geometry) -> RenderedClips:
    """Record clips by index."""
    return record_clips(clip_indexes, seed, geometry, "actions", LEVELS)
