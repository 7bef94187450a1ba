"""Moving Shapes: one object whose shape, colour, size and motion are what the prompt says.

Of the 1,280 compositions of these attributes 15 % are held out: no clip of the data shows them, but
every pair of values still occurs, so that a model has seen all that such a prompt asks for.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from t2vgan.data.shards import Geometry

from . import RenderedClips, clip_numbers, hold_out, pick
from .drawing import COLOURS, SHAPES, blank, draw_objects
from .motions import MOTIONS, Ranges, trace

VERSION = "2"
SIZES: dict[str, Ranges] = {
    "small": Ranges(
        radius=(4.5, 6.2),
        offset=5,
        displacement=(26, 34),
        swing=(12, 16),
        zigzag_displacement=(26, 32),
        zigzag_amplitude=(5, 7),
        radius_small=(3.6, 4.1),
        radius_large=(6.6, 7.4),
    ),
    "large": Ranges(
        radius=(7.8, 9.8),
        offset=5,
        displacement=(26, 34),
        swing=(12, 16),
        zigzag_displacement=(26, 32),
        zigzag_amplitude=(5, 7),
        radius_small=(6.2, 7),
        radius_large=(11.4, 12.6),
    ),
}
TEMPLATES = (
    "a {size} {colour} {shape} {motion}",
    "the {colour} {shape} is {size} and {motion}",
    "the {shape} is {size}, {colour} and {motion}",
    "{motion}: a {shape}, {colour} and {size}",
)
ATTRIBUTES = ("shape", "colour", "size", "motion")

Composition = tuple[str, str, str, str]


def split_compositions() -> tuple[list[Composition], list[Composition]]:
    """Return the (shape, colour, size, motion) to train on, and those held out."""
    every: list[Composition] = list(itertools.product(SHAPES, COLOURS, SIZES, MOTIONS))
    return hold_out(every, "held-out compositions")


def write(composition: Composition, template: str) -> str:
    """Return a composition's prompt."""
    return template.format(**dict(zip(ATTRIBUTES, composition, strict=True)))


TRAINING, HELD_OUT = split_compositions()
PROMPTS = tuple(write(composition, t) for composition in TRAINING for t in TEMPLATES)
HELD_OUT_PROMPTS = tuple(write(composition, t) for composition in HELD_OUT for t in TEMPLATES)
COMPOSITIONS = dict(
    zip(
        PROMPTS + HELD_OUT_PROMPTS,
        (composition for composition in TRAINING + HELD_OUT for _ in TEMPLATES),
        strict=True,
    )
)
"""What each prompt says."""


def render_clips(
    clip_indexes: Sequence[int],
    seed: int,
    geometry: Geometry,
    *,
    prompts: Sequence[str] | None = None,
) -> RenderedClips:
    """Render the clips of a data set by index; `prompts` replaces those drawn for them."""
    frames = blank(
        len(clip_indexes), geometry.num_frames, height=geometry.height, width=geometry.width
    )
    return render_over(frames, clip_indexes, seed, prompts=prompts, on_white=True)


def render_over(
    frames: np.ndarray,
    clip_indexes: Sequence[int],
    seed: int,
    *,
    prompts: Sequence[str] | None = None,
    on_white: bool = False,
) -> RenderedClips:
    """Render clips as `render_clips` does over given frames (N, T, H, W, 3) uint8, in place."""
    numbers = clip_numbers(clip_indexes, seed, "shapes")
    if prompts is None:
        prompts = pick(PROMPTS, numbers[:, 0])
    compositions = [COMPOSITIONS[prompt] for prompt in prompts]
    shape, colour, size, motion = zip(*compositions, strict=True)
    kinds = list(itertools.product(MOTIONS, SIZES))
    paths = trace(
        numbers[:, 1:],
        [(motion, SIZES[size]) for motion, size in kinds],
        np.array([kinds.index(kind) for kind in zip(motion, size, strict=True)]),
        num_frames=frames.shape[1],
        height=frames.shape[2],
        width=frames.shape[3],
    )
    draw_objects(frames, paths.centres, paths.radii, shape, colour, on_white=on_white)
    for composition, drawn in zip(compositions, paths.attributes, strict=True):
        drawn.update(zip(ATTRIBUTES, composition, strict=True))
    return RenderedClips(frames, list(prompts), paths.attributes)
