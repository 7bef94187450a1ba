"""The notebook's 18 prompts done right: one blue circle whose motion is what the prompt says.

Start, speed, size and phase are drawn from the seed.
"""

from collections.abc import Sequence

import numpy as np

from t2vgan.data.shards import Geometry

from . import RenderedClips, clip_numbers, pick
from .drawing import draw_discs
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
KINDS = [
    (prompt.removeprefix("circle ").replace("moving diagonally", "moving"), RANGES)
    for prompt in PROMPTS
]


def render_clips(
    clip_indexes: Sequence[int],
    seed: int,
    geometry: Geometry,
    *,
    prompts: Sequence[str] | None = None,
) -> RenderedClips:
    """Render the clips of a data set by index; `prompts` replaces those drawn for them."""
    numbers = clip_numbers(clip_indexes, seed, "circles")
    if prompts is None:
        prompts = pick(PROMPTS, numbers[:, 0])
    ids = np.array([PROMPTS.index(prompt) for prompt in prompts])
    paths = trace(numbers[:, 1:], KINDS, ids, **geometry.model_dump())
    frames = draw_discs(paths.centres, paths.radii, height=geometry.height, width=geometry.width)
    for prompt, drawn in zip(prompts, paths.attributes, strict=True):
        drawn["motion"] = prompt.removeprefix("circle ")
    return RenderedClips(frames, list(prompts), paths.attributes)
