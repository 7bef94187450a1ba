"""Moving Shapes: one object whose shape, colour, size and motion are what the prompt says.

Of the 1,280 compositions of these attributes 15 % are held out: no clip of the data shows them, but
every pair of values still occurs, so that a model has seen all that such a prompt asks for.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from data_tools.scenes import RenderedClips, clip_numbers
from data_tools.scenes.drawing import SHAPES, Colour, blank, draw_objects
from data_tools.scenes.motions import MOTIONS, Ranges, trace
from t2vgan.seeds import permutation
from t2vgan.shards import Geometry

VERSION = "1"
COLOURS: dict[str, Colour] = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "magenta": (255, 0, 255),
    "cyan": (0, 255, 255),
    "orange": (255, 128, 0),
    "black": (0, 0, 0),
}
SIZES: dict[str, Ranges] = {
    "small": Ranges(
        radius=(4.5, 5.5),
        offset=5,
        displacement=(26, 34),
        swing=(12, 16),
        zigzag_displacement=(26, 32),
        zigzag_amplitude=(5, 7),
        radius_small=(3.6, 4.1),
        radius_large=(6.6, 7.4),
    ),
    "large": Ranges(
        radius=(8.5, 9.5),
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
HELD_OUT_SHARE = 0.15
SPLIT_SEED = 0

Composition = tuple[str, str, str, str]


def split_compositions() -> tuple[list[Composition], list[Composition]]:
    """Return the (shape, colour, size, motion) to train on, and those held out."""
    every: list[Composition] = list(itertools.product(SHAPES, COLOURS, SIZES, MOTIONS))
    order = permutation(len(every), SPLIT_SEED, "held-out compositions")
    held_out = set(order[: round(HELD_OUT_SHARE * len(every))].tolist())
    train = [composition for i, composition in enumerate(every) if i not in held_out]
    return train, [every[i] for i in sorted(held_out)]


def write(composition: Composition, template: str) -> str:
    """Return a composition's prompt."""
    return template.format(**dict(zip(ATTRIBUTES, composition, strict=True)))


TRAINING, HELD_OUT = split_compositions()
PROMPTS = tuple(write(composition, t) for composition in TRAINING for t in TEMPLATES)
HELD_OUT_PROMPTS = tuple(write(composition, t) for composition in HELD_OUT for t in TEMPLATES)


def draw_prompt_ids(clip_indexes: Sequence[int], seed: int) -> np.ndarray:
    """Return the prompt of each clip as an index into PROMPTS: (N,) int64."""
    return _prompt_ids(clip_numbers(clip_indexes, seed, "shapes"))


def render_clips(
    clip_indexes: Sequence[int],
    seed: int,
    geometry: Geometry,
    *,
    prompt_ids: Sequence[int] | None = None,
) -> RenderedClips:
    """Render the clips of a data set by index; `prompt_ids` replaces the prompts drawn for them.

    Ids from len(PROMPTS) on are those of HELD_OUT_PROMPTS.
    """
    numbers = clip_numbers(clip_indexes, seed, "shapes")
    ids = _prompt_ids(numbers) if prompt_ids is None else np.asarray(prompt_ids, np.int64)
    prompts = [(PROMPTS + HELD_OUT_PROMPTS)[i] for i in ids]
    compositions = [(TRAINING + HELD_OUT)[i // len(TEMPLATES)] for i in ids]
    shape, colour, size, motion = zip(*compositions, strict=True)
    kinds = list(itertools.product(MOTIONS, SIZES))
    kind_ids = np.array([kinds.index(kind) for kind in zip(motion, size, strict=True)])
    paths = trace(
        numbers[:, 1:],
        [(motion, SIZES[size]) for motion, size in kinds],
        kind_ids,
        **geometry.model_dump(),
    )
    frames = blank(len(ids), geometry.num_frames, height=geometry.height, width=geometry.width)
    draw_objects(
        frames,
        paths.centres,
        paths.radii,
        list(SHAPES.values()),
        [list(SHAPES).index(name) for name in shape],
        list(COLOURS.values()),
        [list(COLOURS).index(name) for name in colour],
    )
    for composition, drawn in zip(compositions, paths.attributes, strict=True):
        drawn.update(zip(ATTRIBUTES, composition, strict=True))
    return RenderedClips(frames, prompts, paths.attributes)


def _prompt_ids(numbers: np.ndarray) -> np.ndarray:
    return (numbers[:, 0] * len(PROMPTS)).astype(np.int64)
