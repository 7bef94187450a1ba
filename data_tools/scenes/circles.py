"""The notebook's 18 prompts done right: one blue circle whose motion is what the prompt says.

Start, speed, size and phase are drawn from the seed.
"""

from collections.abc import Sequence

import numpy as np

from data_tools.scenes import RenderedClips, clip_numbers
from data_tools.scenes.drawing import draw_discs
from data_tools.scenes.motions import Ranges, trace
from t2vgan.shards import Geometry

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


def draw_prompt_ids(clip_indexes: Sequence[int], seed: int) -> np.ndarray:
    """Return the prompt of each clip as an index into PROMPTS: (N,) int64."""
    return _prompt_ids(clip_numbers(clip_indexes, seed, "circles"))


def render_clips(
    clip_indexes: Sequence[int],
    seed: int,
    geometry: Geometry,
    *,
    prompt_ids: Sequence[int] | None = None,
) -> RenderedClips:
    """Render the clips of a data set by index; `prompt_ids` replaces the prompts drawn for them."""
    numbers = clip_numbers(clip_indexes, seed, "circles")
    ids = _prompt_ids(numbers) if prompt_ids is None else np.asarray(prompt_ids, np.int64)
    paths = trace(numbers[:, 1:], KINDS, ids, **geometry.model_dump())
    frames = draw_discs(paths.centres, paths.radii, height=geometry.height, width=geometry.width)
    prompts = [PROMPTS[i] for i in ids]
    for prompt, drawn in zip(prompts, paths.attributes, strict=True):
        drawn["motion"] = prompt.removeprefix("circle ")
    return RenderedClips(frames, prompts, paths.attributes)


def _prompt_ids(numbers: np.ndarray) -> np.ndarray:
    return (numbers[:, 0] * len(PROMPTS)).astype(np.int64)
