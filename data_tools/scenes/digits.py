"""Render Bouncing Digits: one or two handwritten digits in motion, equally often.

As in the published data sets of this kind (Sync-DRAW, TGANs-C) two digits go up and down or left
and right; a single digit may also move otherwise. Of the 140 pairs of a digit and a motion 15 % are
held out, and of the 45 pairs of digits too: no clip shows them, whatever the prompt's wording.
"""

import itertools
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import JsonValue

from t2vgan.data.digit_glyphs import NUM_DIGITS, load_drawn_digits
from t2vgan.data.shards import Geometry

from .apart import keep_apart
from .base import RenderedClips, clip_numbers, hold_out, pick
from .ink import draw_ink
from .motions import MOTIONS, REFERENCE_SIDE, Paths, Ranges, trace

VERSION = "1"
SINGLE = Ranges(
    radius=(10, 12),
    offset=5,
    displacement=(24, 32),
    swing=(11, 15),
    zigzag_displacement=(24, 30),
    zigzag_amplitude=(5, 7),
    radius_small=(10, 12),
    radius_large=(10, 12),
)
PAIRED = replace(SINGLE, radius=(9, 10.5), offset=3, swing=(8, 11))
"""A digit's radius is half the side of its picture."""
TO_AND_FRO = {
    "moving up and down": "bouncing vertically",
    "moving left and right": "bouncing horizontally",
}
TRACED = TO_AND_FRO | {
    name: name for name in MOTIONS if name.startswith(("moving", "rotating", "zigzagging"))
}
"""The motion that is traced, by its name in prompts."""
NARROW = 0.8  # of a digit's radius: the radius of the disc that `keep_apart` assumes

Object = tuple[str, str]
"""Digit and motion."""


def split_objects() -> tuple[list[Object], list[Object]]:
    """Split (digit, motion) pairs into training and held-out ones."""
    every = list(itertools.product(map(str, range(NUM_DIGITS)), TRACED))
    return hold_out(every, "held-out digits and motions")


def split_pairs() -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Split unordered pairs of digits into training and held-out ones."""
    return hold_out(
        list(itertools.combinations(map(str, range(NUM_DIGITS)), 2)), "held-out pairs of digits"
    )


def write(*objects: Object) -> str:
    """Return the prompt of one or two digits."""
    return " and ".join(f"digit {digit} {motion}" for digit, motion in objects)


def parse(prompt: str) -> list[Object]:
    """Return the digits and motions of a prompt that `write` wrote."""
    return NAMED.findall(prompt)


NAMED = re.compile(r"digit (\d) (.+?)(?= and digit|$)")


def write_pairs(pairs: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return all prompts of digit pairs, in both orders, without held-out objects."""
    return tuple(
        write(*objects)
        for pair in pairs
        for digits in (pair, pair[::-1])
        for motions in itertools.product(TO_AND_FRO, repeat=2)
        for objects in [list(zip(digits, motions, strict=True))]
        if not set(objects) & set(HELD_OUT)
    )


TRAINING, HELD_OUT = split_objects()
TRAINING_PAIRS, HELD_OUT_PAIRS = split_pairs()
PROMPTS_OF_ONE = tuple(map(write, TRAINING))
PROMPTS_OF_TWO = write_pairs(TRAINING_PAIRS)
PROMPTS = PROMPTS_OF_ONE + PROMPTS_OF_TWO
HELD_OUT_PROMPTS = tuple(map(write, HELD_OUT)) + write_pairs(HELD_OUT_PAIRS)


def draw_prompts(numbers: np.ndarray) -> list[str]:
    """Draw prompts from numbers (N, >= 2), half with two digits."""
    of_one, of_two = (pick(known, numbers[:, 1]) for known in (PROMPTS_OF_ONE, PROMPTS_OF_TWO))
    return np.where(numbers[:, 0] < 0.5, of_one, of_two).tolist()


def render_clips(
    clip_indexes: Sequence[int], seed: int, geometry: Geometry, *, prompts: Sequence[str] = ()
) -> RenderedClips:
    """Render clips by index; `prompts` replaces the drawn ones."""
    prompts = prompts or draw_prompts(clip_numbers(clip_indexes, seed, "digits prompts"))
    grey = np.full((len(prompts), *geometry.shape[:3]), 255, np.uint8)
    attributes: list[dict[str, JsonValue]] = [{} for _ in prompts]
    largest = SINGLE.radius[1] * min(geometry.shape[1:3]) / REFERENCE_SIDE
    objects = list(map(parse, prompts))
    for num_objects, ranges in ((1, SINGLE), (2, PAIRED)):
        clips = [clip for clip, named in enumerate(objects) if len(named) == num_objects]
        indexes = [clip_indexes[clip] for clip in clips]
        numbers = [clip_numbers(indexes, seed, f"digits {p}") for p in range(num_objects)]
        named = [[objects[clip][place] for clip in clips] for place in range(num_objects)]
        paths = [
            _trace(row[:, 1:], some, ranges, geometry)
            for row, some in zip(numbers, named, strict=True)
        ]
        if num_objects == 2:
            paths = _move_apart(paths, clip_numbers(indexes, seed, "digits places"), geometry)
        for row, some, path in zip(numbers, named, paths, strict=True):
            ink = _pictures(row[:, 0], some)
            draw_ink(grey, clips, path, ink, largest=largest)
        for clip, *drawn in zip(clips, *(path.attributes for path in paths), strict=True):
            attributes[clip] = drawn[0] if num_objects == 1 else {"objects": drawn}
    return RenderedClips(np.repeat(grey[..., None], 3, axis=-1), list(prompts), attributes)


def _trace(
    numbers: np.ndarray, named: Sequence[Object], ranges: Ranges, geometry: Geometry
) -> Paths:
    paths = trace(numbers, [(TRACED[motion], ranges) for _, motion in named], geometry)
    for (digit, motion), drawn in zip(named, paths.attributes, strict=True):
        drawn.update(digit=digit, motion=motion)
    return paths


def _move_apart(paths: Sequence[Paths], numbers: np.ndarray, geometry: Geometry) -> list[Paths]:
    """Keep two digits apart as if they were discs."""
    discs = [replace(path, radii=NARROW * path.radii) for path in paths]
    moved = keep_apart(discs[0], discs[1], numbers, geometry)
    return [replace(m, radii=path.radii) for m, path in zip(moved, paths, strict=True)]


def _pictures(numbers: np.ndarray, named: Sequence[Object]) -> np.ndarray:
    """Pick each digit's picture, ink (N, 8, 8), by numbers (N,)."""
    known = load_drawn_digits()
    places = {str(digit): np.flatnonzero(known.digits == digit) for digit in range(NUM_DIGITS)}
    chosen = [
        places[digit][int(number * len(places[digit]))]
        for (digit, _), number in zip(named, numbers.tolist(), strict=True)
    ]
    return known.ink[np.array(chosen, np.int64)]
