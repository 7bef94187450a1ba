"""Render Moving Shapes with two objects per clip.

Each prompt binds a shape and a motion to each of two colours. Held out are pairs of looks, such as
"a red circle ... a blue square": 15 % of the 700 pairs of looks with different colours, in either
order and with any motions. Every object, and every pair of colours, of shapes and of motions, still
occurs. There are too many prompts to list, so they are drawn at random.
"""

import itertools
import re
from collections.abc import Sequence

import numpy as np

from t2vgan.data.shards import Geometry

from .apart import keep_apart
from .base import SPLIT_SEED, RenderedClips, clip_numbers, hold_out, pick
from .drawing import COLOURS, SHAPES, blank, draw_objects
from .motions import MOTIONS, Paths, Ranges, trace

VERSION = "1"
RANGES = Ranges(
    radius=(5, 6.5),
    offset=3,
    displacement=(19, 24),
    swing=(9, 11),
    zigzag_displacement=(19, 24),
    zigzag_amplitude=(4.5, 5.5),
    radius_small=(4, 4.6),
    radius_large=(7.4, 8.6),
)
TEMPLATES = ("a {} and a {}", "the {}, the {}")
NUM_HELD_OUT_PROMPTS = 1000

Look = tuple[str, str]
"""Colour and shape."""
Object = tuple[str, str, str]
"""Colour, shape and motion."""


def split_pairs() -> tuple[list[tuple[Look, Look]], list[tuple[Look, Look]]]:
    """Split unordered pairs of looks into training and held-out ones."""
    looks = itertools.product(COLOURS, SHAPES)
    every = [(a, b) for a, b in itertools.combinations(looks, 2) if a[0] != b[0]]
    return hold_out(every, "held-out pairs")


def write(first: Object, second: Object, template: str) -> str:
    """Return the prompt of two objects, each "colour shape motion"."""
    prompt = template.format(" ".join(first), " ".join(second))
    return re.sub(r"\ba(?= orange\b)", "an", prompt)


def parse(prompt: str) -> tuple[Object, Object]:
    """Return the two objects of a prompt that `write` wrote."""
    (a, b, c), (d, e, f) = NAMED.findall(prompt)
    return (a, b, c), (d, e, f)


NAMED = re.compile(rf"({'|'.join(COLOURS)}) ({'|'.join(SHAPES)}) ({'|'.join(MOTIONS)})\b(?!-)")


def draw_prompts(pairs: Sequence[tuple[Look, Look]], numbers: np.ndarray) -> list[str]:
    """Draw N prompts of pairs of looks from numbers (N, >= 5)."""
    motions = list(MOTIONS)
    prompts = []
    for (one, other), row in zip(pick(pairs, numbers[:, 0]), numbers, strict=True):
        first, second = (one, other) if row[1] < 0.5 else (other, one)
        motion, other_motion, template = (
            pick(choices, row[place : place + 1])[0]
            for place, choices in ((2, motions), (3, motions), (4, TEMPLATES))
        )
        prompts.append(write((*first, motion), (*second, other_motion), template))
    return prompts


TRAINING, HELD_OUT = split_pairs()
PROMPTS: tuple[str, ...] = ()
HELD_OUT_PROMPTS = tuple(
    dict.fromkeys(
        draw_prompts(
            HELD_OUT, clip_numbers(range(NUM_HELD_OUT_PROMPTS), SPLIT_SEED, "held-out prompts")
        )
    )
)


def render_clips(
    clip_indexes: Sequence[int], seed: int, geometry: Geometry, *, prompts: Sequence[str] = ()
) -> RenderedClips:
    """Render clips by index; `prompts` replaces the drawn ones."""
    prompts = prompts or draw_prompts(
        TRAINING, clip_numbers(clip_indexes, seed, "shapes-two prompts")
    )
    objects = list(zip(*map(parse, prompts), strict=True))
    first, second = (
        _trace(clip_numbers(clip_indexes, seed, f"shapes-two {place}"), named, geometry)
        for place, named in enumerate(objects)
    )
    places = clip_numbers(clip_indexes, seed, "shapes-two places")
    paths = keep_apart(first, second, places, geometry)
    frames = blank(len(prompts), **geometry.model_dump())
    for named, path, on_white in zip(objects, paths, (True, False), strict=True):
        colours, shapes, _ = zip(*named, strict=True)
        draw_objects(frames, path.centres, path.radii, shapes, colours, on_white=on_white)
    both = zip(*(path.attributes for path in paths), strict=True)
    return RenderedClips(frames, list(prompts), [{"objects": list(drawn)} for drawn in both])


def _trace(numbers: np.ndarray, named: Sequence[Object], geometry: Geometry) -> Paths:
    paths = trace(numbers, [(motion, RANGES) for _, _, motion in named], geometry)
    for (colour, shape, _), drawn in zip(named, paths.attributes, strict=True):
        drawn.update(colour=colour, shape=shape)
    return paths
