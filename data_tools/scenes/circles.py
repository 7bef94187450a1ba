"""The notebook's 18 prompts done right: one blue circle whose motion is what the prompt says.

Start, speed, size and phase are drawn from the seed. Lengths are pixels of a 64-pixel frame and
scale with the shorter side; motion is a function of clip time 0..1, so any number of frames shows
the same path. "Clockwise" and "up" are meant as seen on the screen, where y grows downwards.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from pydantic import JsonValue

from data_tools.scenes import RenderedClips, clip_numbers
from data_tools.scenes.drawing import draw_discs
from t2vgan.shards import Geometry

VERSION = "2"
HELD_OUT_PROMPTS = ("circle moving up-right",)
REFERENCE_SIDE = 64
FULL_TURN = 2 * np.pi

RIGHT, DOWN = np.array([1.0, 0.0]), np.array([0.0, 1.0])
LEFT, UP = -RIGHT, -DOWN


class Draw:
    """Hand out the random numbers of N clips in order, and remember them as attributes."""

    def __init__(self, numbers: np.ndarray, scale: float):
        self._columns = iter(numbers.T)
        self._scale = scale
        self.attributes: dict[str, np.ndarray] = {}

    def number(self, name: str, low: float, high: float) -> np.ndarray:
        """Draw uniformly from low..high: (N, 1, 1)."""
        values = low + (high - low) * next(self._columns)
        self.attributes[name] = values
        return values[:, None, None]

    def length(self, name: str, low: float, high: float) -> np.ndarray:
        """Draw a length from low..high pixels of the reference frame, scaled: (N, 1, 1)."""
        return self.number(name, low * self._scale, high * self._scale)

    def offset(self, reach_x: float, reach_y: float) -> np.ndarray:
        """Draw a point near the frame's middle: (N, 1, 2)."""
        x = self.length("offset_x", -reach_x, reach_x)
        y = self.length("offset_y", -reach_y, reach_y)
        return np.concatenate([x, y], axis=2)

    def radius(self) -> np.ndarray:
        """Draw the radius of a circle that keeps its size: (N, 1, 1)."""
        return self.length("radius", 4, 8)


# A motion maps (draw, time) to centres relative to the frame's middle and to radii:
# (N,), (T, 1) -> (N, T, 2), (N, T or 1, 1).
Motion = Callable[[Draw, np.ndarray], tuple[np.ndarray, np.ndarray]]


def moving(draw: Draw, time: np.ndarray, *, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross the frame's middle in a straight line at constant speed."""
    radius = draw.radius()
    displacement = draw.length("displacement", 27, 40)
    return draw.offset(8, 8) + displacement * (time - 0.5) * direction, radius


def rotating(draw: Draw, time: np.ndarray, *, sense: int) -> tuple[np.ndarray, np.ndarray]:
    """Orbit the frame's middle from its top, at least once; sense +1 is clockwise on the screen."""
    radius = draw.radius()
    orbit_radius = draw.length("orbit_radius", 13, 18)
    start = draw.number("start_turn", 0.67, 0.83)  # 0.75 is the top
    turns = draw.number("turns", 1, 1.25)
    angle = FULL_TURN * (start + sense * turns * time)
    return orbit_radius * np.concatenate([np.cos(angle), np.sin(angle)], axis=2), radius


def bouncing(draw: Draw, time: np.ndarray, *, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Go to and fro along one axis from the middle, two to two and a half legs: it turns round."""
    radius = draw.radius()
    amplitude = draw.length("amplitude", 13, 18)
    phase = draw.number("phase_legs", 1.35, 1.65)  # 1.5 is the middle, on the way down or right
    legs = draw.number("legs", 2, 2.5)
    middle = draw.offset(*(4 * axis + 8 * (1 - axis)))
    return middle + amplitude * triangle_wave(phase + legs * time) * axis, radius


def zigzagging(draw: Draw, time: np.ndarray, *, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Advance along one axis (downwards or rightwards) while alternating across it."""
    radius = draw.radius()
    displacement = draw.length("displacement", 27, 36)
    amplitude = draw.length("amplitude", 5, 7)
    legs = draw.number("legs", 4.35, 4.65)
    phase = draw.number("phase_legs", 0, 0.2)
    along = displacement * (time - 0.5) * axis
    across = amplitude * triangle_wave(phase + legs * time) * axis[::-1]
    return draw.offset(8, 8) + along + across, radius


def resizing(draw: Draw, time: np.ndarray, *, grows: bool) -> tuple[np.ndarray, np.ndarray]:
    """Stand still and change size steadily: the area by a factor of 3.2 or more."""
    large = draw.length("radius_large", 9, 11)
    small = draw.length("radius_small", 3.5, 5)
    first, last = (small, large) if grows else (large, small)
    return draw.offset(8, 8) + 0 * time, first + (last - first) * time


def triangle_wave(legs: np.ndarray) -> np.ndarray:
    """Return a wave that falls from 1 to -1 over the first leg and rises again over the next."""
    return 2 * np.abs(np.mod(legs, 2) - 1) - 1


MOTIONS: dict[str, Motion] = {
    "circle moving down": partial(moving, direction=DOWN),
    "circle moving left": partial(moving, direction=LEFT),
    "circle moving right": partial(moving, direction=RIGHT),
    "circle moving diagonally up-right": partial(moving, direction=UP + RIGHT),
    "circle moving diagonally down-left": partial(moving, direction=DOWN + LEFT),
    "circle moving diagonally up-left": partial(moving, direction=UP + LEFT),
    "circle moving diagonally down-right": partial(moving, direction=DOWN + RIGHT),
    "circle rotating clockwise": partial(rotating, sense=1),
    "circle rotating counter-clockwise": partial(rotating, sense=-1),
    "circle shrinking": partial(resizing, grows=False),
    "circle expanding": partial(resizing, grows=True),
    "circle bouncing vertically": partial(bouncing, axis=DOWN),
    "circle bouncing horizontally": partial(bouncing, axis=RIGHT),
    "circle zigzagging vertically": partial(zigzagging, axis=DOWN),
    "circle zigzagging horizontally": partial(zigzagging, axis=RIGHT),
    "circle moving up-left": partial(moving, direction=UP + LEFT),
    "circle moving down-right": partial(moving, direction=DOWN + RIGHT),
    "circle moving down-left": partial(moving, direction=DOWN + LEFT),
}
PROMPTS = tuple(MOTIONS)


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
    centres, radii, attributes = _paths(numbers[:, 1:], ids, geometry)
    frames = draw_discs(
        centres[..., 0].ravel(),
        centres[..., 1].ravel(),
        radii.ravel(),
        height=geometry.height,
        width=geometry.width,
    )
    shape = (len(ids), geometry.num_frames, geometry.height, geometry.width, 3)
    return RenderedClips(frames.reshape(shape), [PROMPTS[i] for i in ids], attributes)


def _prompt_ids(numbers: np.ndarray) -> np.ndarray:
    return (numbers[:, 0] * len(PROMPTS)).astype(np.int64)


def _paths(
    numbers: np.ndarray, prompt_ids: np.ndarray, geometry: Geometry
) -> tuple[np.ndarray, np.ndarray, list[dict[str, JsonValue]]]:
    """Return centres (N, T, 2) in pixels, radii (N, T) and the attributes of each clip."""
    scale = min(geometry.height, geometry.width) / REFERENCE_SIDE
    time = np.linspace(0, 1, geometry.num_frames)[:, None]
    centres = np.empty((len(numbers), geometry.num_frames, 2))
    radii = np.empty((len(numbers), geometry.num_frames, 1))
    attributes: list[dict[str, JsonValue]] = [{} for _ in numbers]
    for prompt_id in np.unique(prompt_ids):
        clips = np.flatnonzero(prompt_ids == prompt_id)
        draw = Draw(numbers[clips], scale)
        centres[clips], radii[clips] = MOTIONS[PROMPTS[prompt_id]](draw, time)
        rows = zip(*(values.round(3).tolist() for values in draw.attributes.values()), strict=True)
        for clip, row in zip(clips, rows, strict=True):
            attributes[clip] = dict(zip(draw.attributes, row, strict=True))
    centres += (geometry.width - 1) / 2, (geometry.height - 1) / 2
    for start, prompt_id, drawn in zip(centres[:, 0], prompt_ids, attributes, strict=True):
        x, y = start.round(3).tolist()
        motion = PROMPTS[prompt_id].removeprefix("circle ")
        drawn.update(motion=motion, start_x=x, start_y=y)
    return centres, radii[..., 0], attributes
