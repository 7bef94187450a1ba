"""Render the notebook's 18 prompts with the motion that each names.

One blue circle; start, speed, size and phase are drawn from the seed.
"""

from collections.abc import Sequence

from t2vgan.data.shards import Geometry

from .base import RenderedClips, clip_numbers, pick
from .drawing import blank, draw_objects
from .motions import Ranges, trace

VERSION = "2"
HELD_OUT_PROMPTS = ("circle moving up-right",)
PROMPTS = (
    "circle moving down",
    "circle moving left",
    "circle moving right",
    "circle moving diagonally up-right",
    "circle moving diagonally down-left",
    "circle moving diagonally up-left",
    "circle moving diagonally down-right",
    "circle rotating clockwise",
    "circle rotating counter-clockwise",
    "circle shrinking",
    "circle expanding",
    "circle bouncing vertically",
    "circle bouncing horizontally",
    "circle zigzagging vertically",
    "circle zigzagging horizontally",
    "circle moving up-left",
    "circle moving down-right",
    "circle moving down-left",
)
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
    clip_indexes: Sequence[int],
    seed: int,
    geometry: Geometry,
    *,
    prompts: Sequence[str] | None = None,
) -> RenderedClips:
    """Render clips by index; `prompts` replaces the drawn ones."""
    numbers = clip_numbers(clip_indexes, seed, "circles")
    if prompts is None:
        prompts = pick(PROMPTS, numbers[:, 0])
    num_clips = len(prompts)
    paths = trace(numbers[:, 1:], [(MOTION_OF[prompt], RANGES) for prompt in prompts], geometry)
    frames = blank(num_clips, **geometry.model_dump())
    shapes, colours = ["circle"] * num_clips, ["blue"] * num_clips
    draw_objects(frames, paths.centres, paths.radii, shapes, colours, on_white=True)
    for prompt, drawn in zip(prompts, paths.attributes, strict=True):
        drawn["motion"] = prompt.removeprefix("circle ")
    return RenderedClips(frames, list(prompts), paths.attributes)
