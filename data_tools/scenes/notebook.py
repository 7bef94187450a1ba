"""Render the notebook's published scenes with exactly its positions and shape.

The circle stays blue. These properties are kept because the baseline is trained on them: offsets
wrap around the frame, every prompt has exactly one clip, and the circle stands still for rotating,
shrinking and expanding.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
from pydantic import JsonValue

from t2vgan.data.shards import Geometry

from .base import RenderedClips, clip_numbers, pick
from .drawing import COLOURS, WHITE

VERSION = "1"
HELD_OUT_PROMPTS = ("circle moving up-right",)
STEP = 5  # pixels per frame
REACH = 5  # the ellipse goes from centre - 5 to centre + 5


# (s, w, h) -> offset of the circle's centre from the frame's centre, where s = STEP * frame number.
# Python's modulo is never negative: -5 % 64 is 59.
Offset = Callable[[int, int, int], tuple[int, int]]


def zigzag(step: int, length: int, middle: int) -> int:
    """Return the published zigzag: back on even frames, forward on odd ones."""
    even = (step // STEP) % 2 == 0
    return middle - step % length if even else middle + step % length


OFFSETS: dict[str, Offset] = {
    "circle moving down": lambda s, w, h: (0, s % h),
    "circle moving left": lambda s, w, h: (-s % w, 0),
    "circle moving right": lambda s, w, h: (s % w, 0),
    "circle moving diagonally up-right": lambda s, w, h: (s % w, -s % h),
    "circle moving diagonally down-left": lambda s, w, h: (-s % w, s % h),
    "circle moving diagonally up-left": lambda s, w, h: (-s % w, -s % h),
    "circle moving diagonally down-right": lambda s, w, h: (s % w, s % h),
    "circle rotating clockwise": lambda s, w, h: (0, 0),
    "circle rotating counter-clockwise": lambda s, w, h: (0, 0),
    "circle shrinking": lambda s, w, h: (0, 0),
    "circle expanding": lambda s, w, h: (0, 0),
    "circle bouncing vertically": lambda s, w, h: (0, h // 2 - abs(s % h - h // 2)),
    "circle bouncing horizontally": lambda s, w, h: (w // 2 - abs(s % w - w // 2), 0),
    "circle zigzagging vertically": lambda s, w, h: (0, zigzag(s, h, h // 2)),
    "circle zigzagging horizontally": lambda s, w, h: (zigzag(s, w, w // 2), h // 2),
    "circle moving up-left": lambda s, w, h: (-s % w, -s % h),
    "circle moving down-right": lambda s, w, h: (s % w, s % h),
    "circle moving down-left": lambda s, w, h: (-s % w, s % h),
}
PROMPTS = tuple(OFFSETS)


def centre(prompt: str, frame: int, *, height: int, width: int) -> tuple[int, int]:
    """Return the circle's centre (x, y) in pixels as published."""
    x, y = OFFSETS[prompt](STEP * frame, width, height)
    return width // 2 + x, height // 2 + y


def render_clips(
    clip_indexes: Sequence[int], seed: int, geometry: Geometry, *, prompts: Sequence[str] = ()
) -> RenderedClips:
    """Render clips by index; `prompts` replaces the drawn ones."""
    prompts = prompts or pick(PROMPTS, clip_numbers(clip_indexes, seed, "notebook")[:, 0])
    frames = _clip_of_every_prompt(geometry)[[PROMPTS.index(prompt) for prompt in prompts]]
    attributes: list[dict[str, JsonValue]] = [
        {"motion": prompt.removeprefix("circle ")} for prompt in prompts
    ]
    return RenderedClips(frames, list(prompts), attributes)


@lru_cache(maxsize=1)
def _clip_of_every_prompt(geometry: Geometry) -> np.ndarray:
    """Draw the clip of each prompt: (18, T, H, W, 3) uint8."""
    from PIL import Image, ImageDraw

    height, width = geometry.height, geometry.width
    frames = np.empty((len(PROMPTS), geometry.num_frames, height, width, 3), np.uint8)
    for clip, prompt in zip(frames, PROMPTS, strict=True):
        for number in range(geometry.num_frames):
            x, y = centre(prompt, number, height=height, width=width)
            image = Image.new("RGB", (width, height), WHITE)
            box = (x - REACH, y - REACH, x + REACH, y + REACH)
            ImageDraw.Draw(image).ellipse(box, fill=COLOURS["blue"])
            clip[number] = np.asarray(image)
    return frames
