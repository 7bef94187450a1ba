"""Render Moving Shapes: one object of prompted shape, colour, size and motion.

Of the 1,280 compositions of these attributes, 15 % are held out: no clip of the data shows them,
but every pair of values still occurs, so training shows everything that a held-out prompt names.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from t2vgan.data.shards import Geometry

from .base import RenderedClips, clip_numbers, hold_out, pick
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
"""Shape, colour, size and motion."""


def split_compositions() -> tuple[list[Composition], list[Composition]]:
    """Return the training compositions and the held-out ones."""
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
"""The composition of each prompt."""


def render_clips(
    clip_indexes: Sequence[int], seed: int, geometry: Geometry, *, prompts: Sequence[str] = ()
) -> RenderedClips:
    """Render clips by index; `prompts` replaces the drawn ones."""
    frames = blank(len(clip_indexes), **geometry.model_dump())
    return render_over(frames, clip_indexes, seed, geometry, prompts=prompts, on_white=True)


def render_over(
    frames: np.ndarray,
    clip_indexes: Sequence[int],
    seed: int,
    geometry: Geometry,
    *,
    prompts: Sequence[str],
    on_white: bool = False,
) -> RenderedClips:
    """Render clips over frames (N, T, H, W, 3) uint8, in place."""
    numbers = clip_numbers(clip_indexes, seed, "shapes")
    prompts = prompts or pick(PROMPTS, numbers[:, 0])
    compositions = [COMPOSITIONS[prompt] for prompt in prompts]
    kinds = [(motion, SIZES[size]) for _, _, size, motion in compositions]
    paths = trace(numbers[:, 1:], kinds, geometry)
    shapes, colours, _, _ = zip(*compositions, strict=True)
    draw_objects(frames, paths.centres, paths.radii, shapes, colours, on_white=on_white)
    for composition, drawn in zip(compositions, paths.attributes, strict=True):
        drawn.update(zip(ATTRIBUTES, composition, strict=True))
    return RenderedClips(frames, list(prompts), paths.attributes)
