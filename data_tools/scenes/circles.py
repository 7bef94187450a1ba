"""Render the notebook's 18 prompts, each with the motion that it names."""

from collections.abc import Sequence

from t2vgan.data.shards import Geometry

from .base import RenderedClips, clip_numbers, pick
from .drawing import blank, draw_objects
from .motions import Ranges, trace
from .notebook import HELD_OUT_PROMPTS, PROMPTS

__all__ = ["HELD_OUT_PROMPTS", "PROMPTS", "VERSION", "render_clips"]

VERSION = "2"
RANGES = Ranges(
    radius=(4, 8),
    offset=8,
    displacement=(27, 40),
    swing=(13, 18),
    zigzag_displacement=(27, 36),
    zigzag_amplitude=(5, 7),
    radius_small=(3.5, 5),
    radius_large=(9, 11),
)
MOTION_OF = {
    prompt: prompt.removeprefix("circle ").replace("moving diagonally", "moving")
    for prompt in PROMPTS
}


def render_clips(
    clip_indexes: Sequence[int], seed: int, geometry: Geometry, *, prompts: Sequence[str] = ()
) -> RenderedClips:
    """Render clips by index; `prompts` replaces the drawn ones."""
    numbers = clip_numbers(clip_indexes, seed, "circles")
    prompts = prompts or pick(PROMPTS, numbers[:, 0])
    num_clips = len(prompts)
    paths = trace(numbers[:, 1:], [(MOTION_OF[prompt], RANGES) for prompt in prompts], geometry)
    frames = blank(num_clips, **geometry.model_dump())
    shapes, colours = ["circle"] * num_clips, ["blue"] * num_clips
    draw_objects(frames, paths.centres, paths.radii, shapes, colours, on_white=True)
    for prompt, drawn in zip(prompts, paths.attributes, strict=True):
        drawn["motion"] = prompt.removeprefix("circle ")
    return RenderedClips(frames, list(prompts), paths.attributes)
