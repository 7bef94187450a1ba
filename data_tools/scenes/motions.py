"""Compute motions: an object's centre and radius over a clip.

Lengths are in pixels of a 64-pixel frame and scale with the shorter side. Motion is a function of
clip time 0..1, so the path does not depend on the number of frames. "Clockwise" and "up" refer to
the screen, where y points down.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from pydantic import JsonValue

from t2vgan.data.shards import Geometry

REFERENCE_SIDE = 64
FULL_TURN = 2 * np.pi

RIGHT, DOWN = np.array([1.0, 0.0]), np.array([0.0, 1.0])
LEFT, UP = -RIGHT, -DOWN

Range = tuple[float, float]


@dataclass(frozen=True)
class Ranges:
    """The ranges from which a scene draws lengths."""

    radius: Range
    """Radius of an object of constant size."""
    offset: float
    """Maximum offset of the path's centre from the frame's centre, in x and in y."""
    displacement: Range
    """Length of a straight motion."""
    swing: Range
    """Radius of an orbit, or amplitude of a bounce."""
    zigzag_displacement: Range
    zigzag_amplitude: Range
    radius_small: Range
    """Smallest radius of an object that shrinks or expands."""
    radius_large: Range


class Draw:
    """Draw values for N clips in order and record them as attributes."""

    def __init__(self, numbers: np.ndarray, ranges: Ranges, scale: float):
        self._columns = iter(numbers.T)
        self._scale = scale
        self.ranges = ranges
        self.attributes: dict[str, np.ndarray] = {}

    def number(self, name: str, low: float, high: float) -> np.ndarray:
        """Draw uniformly from low..high: (N, 1, 1)."""
        values = low + (high - low) * next(self._columns)
        self.attributes[name] = values
        return values[:, None, None]

    def length(self, name: str, low: float, high: float) -> np.ndarray:
        """Draw a scaled length from low..high reference pixels: (N, 1, 1)."""
        return self.number(name, low * self._scale, high * self._scale)

    def offset(self, share_x: float = 1, share_y: float = 1) -> np.ndarray:
        """Draw a point near the frame's centre: (N, 1, 2)."""
        x = self.length("offset_x", -share_x * self.ranges.offset, share_x * self.ranges.offset)
        y = self.length("offset_y", -share_y * self.ranges.offset, share_y * self.ranges.offset)
        return np.concatenate([x, y], axis=2)

    def radius(self) -> np.ndarray:
        """Draw the radius of an object of constant size: (N, 1, 1)."""
        return self.length("radius", *self.ranges.radius)


# A motion maps (draw, time) to centres relative to the frame's centre, and radii:
# (N,), (T, 1) -> (N, T, 2), (N, T or 1, 1).
Motion = Callable[[Draw, np.ndarray], tuple[np.ndarray, np.ndarray]]


def moving(draw: Draw, time: np.ndarray, *, direction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cross the frame's centre in a straight line at constant speed."""
    radius = draw.radius()
    displacement = draw.length("displacement", *draw.ranges.displacement)
    return draw.offset() + displacement * (time - 0.5) * direction, radius


def rotating(draw: Draw, time: np.ndarray, *, sense: int) -> tuple[np.ndarray, np.ndarray]:
    """Orbit the frame's centre from near its top; sense +1 is clockwise."""
    radius = draw.radius()
    orbit_radius = draw.length("orbit_radius", *draw.ranges.swing)
    start = draw.number("start_turn", 0.67, 0.83)  # 0.75 is the top
    turns = draw.number("turns", 1, 1.25)
    angle = FULL_TURN * (start + sense * turns * time)
    return orbit_radius * np.concatenate([np.cos(angle), np.sin(angle)], axis=2), radius


def bouncing(draw: Draw, time: np.ndarray, *, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounce along one axis from the centre, 2 to 2.5 legs."""
    radius = draw.radius()
    amplitude = draw.length("amplitude", *draw.ranges.swing)
    phase = draw.number("phase_legs", 1.35, 1.65)  # 1.5 is the centre, on the way down or right
    legs = draw.number("legs", 2, 2.5)
    middle = draw.offset(*(axis / 2 + (1 - axis)))
    return middle + amplitude * triangle_wave(phase + legs * time) * axis, radius


def zigzagging(draw: Draw, time: np.ndarray, *, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Advance along one axis (downwards or rightwards) while alternating across it."""
    radius = draw.radius()
    displacement = draw.length("displacement", *draw.ranges.zigzag_displacement)
    amplitude = draw.length("amplitude", *draw.ranges.zigzag_amplitude)
    legs = draw.number("legs", 4.35, 4.65)
    phase = draw.number("phase_legs", 0, 0.2)
    along = displacement * (time - 0.5) * axis
    across = amplitude * triangle_wave(phase + legs * time) * axis[::-1]
    return draw.offset() + along + across, radius


def resizing(draw: Draw, time: np.ndarray, *, grows: bool) -> tuple[np.ndarray, np.ndarray]:
    """Change size steadily in place, the area by a factor >= 2.5."""
    large = draw.length("radius_large", *draw.ranges.radius_large)
    small = draw.length("radius_small", *draw.ranges.radius_small)
    first, last = (small, large) if grows else (large, small)
    return draw.offset() + 0 * time, first + (last - first) * time


def triangle_wave(legs: np.ndarray) -> np.ndarray:
    """Return a triangle wave: 1 to -1 over one leg, then back."""
    return 2 * np.abs(np.mod(legs, 2) - 1) - 1


MOTIONS: dict[str, Motion] = {
    "moving up": partial(moving, direction=UP),
    "moving down": partial(moving, direction=DOWN),
    "moving left": partial(moving, direction=LEFT),
    "moving right": partial(moving, direction=RIGHT),
    "moving up-right": partial(moving, direction=UP + RIGHT),
    "moving up-left": partial(moving, direction=UP + LEFT),
    "moving down-right": partial(moving, direction=DOWN + RIGHT),
    "moving down-left": partial(moving, direction=DOWN + LEFT),
    "rotating clockwise": partial(rotating, sense=1),
    "rotating counter-clockwise": partial(rotating, sense=-1),
    "bouncing vertically": partial(bouncing, axis=DOWN),
    "bouncing horizontally": partial(bouncing, axis=RIGHT),
    "zigzagging vertically": partial(zigzagging, axis=DOWN),
    "zigzagging horizontally": partial(zigzagging, axis=RIGHT),
    "expanding": partial(resizing, grows=True),
    "shrinking": partial(resizing, grows=False),
}
"""Motions by their names in prompts."""


@dataclass(frozen=True)
class Paths:
    """The paths of N objects and the values drawn for them."""

    centres: np.ndarray
    """(N, T, 2) pixels, x before y, pixel (0, 0) centred on the origin."""
    radii: np.ndarray
    """(N, T) pixels."""
    attributes: list[dict[str, JsonValue]]

    def moved(self, shift: np.ndarray) -> "Paths":
        """Return the paths moved by (2,) or (N, 1, 2) pixels."""
        centres = self.centres + shift
        starts = centres[:, 0].round(3).tolist()
        attributes = [
            {**drawn, "start_x": x, "start_y": y}
            for (x, y), drawn in zip(starts, self.attributes, strict=True)
        ]
        return Paths(centres, self.radii, attributes)


def trace(numbers: np.ndarray, kinds: Sequence[tuple[str, Ranges]], geometry: Geometry) -> Paths:
    """Trace a path for each (motion, ranges) from numbers (N, M)."""
    num_frames, height, width, _ = geometry.shape
    scale = min(height, width) / REFERENCE_SIDE
    time = np.linspace(0, 1, num_frames)[:, None]
    centres = np.empty((len(numbers), num_frames, 2))
    radii = np.empty((len(numbers), num_frames, 1))
    attributes: list[dict[str, JsonValue]] = [{} for _ in numbers]
    clips_of: defaultdict[tuple[str, Ranges], list[int]] = defaultdict(list)
    for clip, kind in enumerate(kinds):
        clips_of[kind].append(clip)
    for (motion, ranges), clips in clips_of.items():
        draw = Draw(numbers[clips], ranges, scale)
        centres[clips], radii[clips] = MOTIONS[motion](draw, time)
        rows = zip(*(values.round(3).tolist() for values in draw.attributes.values()), strict=True)
        for clip, row in zip(clips, rows, strict=True):
            attributes[clip] = dict(zip(draw.attributes, row, strict=True))
            attributes[clip]["motion"] = motion
    middle = np.array([(width - 1) / 2, (height - 1) / 2])
    return Paths(centres, radii[..., 0], attributes).moved(middle)
