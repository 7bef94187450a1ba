"""Draw anti-aliased shapes, many frames at once.

A shape is a gauge: a function of the place that grows in proportion to the distance from the
shape's middle, and whose slope across an edge is 1. So `apothem * radius + 1/2 - gauge`, cut to
0..1, is the coverage of a pixel by the analytic half-plane ramp. Every shape of one radius has the
area of the disc of that radius.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
BLUE: Colour = (0, 0, 255)

NUM_LEVELS = 16  # of coverage: they look like 256, and make film strips smaller
SIZE_STEP = 4  # pixels: objects of about one size share the size of the squares they are drawn on


@dataclass(frozen=True)
class Shape:
    """What a shape looks like: x (N, 1, S) and y (N, S, 1) relative to its middle -> (N, S, S)."""

    gauge: Callable[[np.ndarray, np.ndarray], np.ndarray]
    apothem: float
    """The gauge at the edges of the shape of radius 1."""
    reach: float
    """How far the shape of radius 1 goes from its middle in x or y."""


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the gauge of a five-pointed star with one tip up.

    By symmetry only the tip nearest to a place counts: along and beside it, the edge is a line.
    """
    along = np.maximum(-y, _STAR_TIP[0, 0] * np.abs(x) - _STAR_TIP[0, 1] * y)
    along = np.maximum(along, _STAR_TIP[1, 0] * np.abs(x) - _STAR_TIP[1, 1] * y)
    beside = np.sqrt(np.maximum(x * x + y * y - along * along, 0))
    return math.cos(_STAR_EDGE) * along + math.sin(_STAR_EDGE) * beside


_FIFTH = 2 * math.pi / 5
_STAR_TIP = np.array([[math.sin(k * _FIFTH), math.cos(k * _FIFTH)] for k in (1, 2)], np.float32)
_STAR_WAIST = 0.5  # inner over outer radius
_STAR_RADIUS = math.sqrt(math.pi / (5 * math.sin(_FIFTH / 2) * _STAR_WAIST))  # for the area pi
_STAR_EDGE = math.atan2(  # angle between a tip and the normal of its edges
    1 - _STAR_WAIST * math.cos(_FIFTH / 2), _STAR_WAIST * math.sin(_FIFTH / 2)
)

SHAPES: dict[str, Shape] = {
    "circle": Shape(lambda x, y: np.sqrt(y**2 + x**2), apothem=1, reach=1),
    "square": Shape(
        lambda x, y: np.maximum(np.abs(x), np.abs(y)),
        apothem=math.sqrt(math.pi) / 2,
        reach=math.sqrt(math.pi) / 2,
    ),
    "triangle": Shape(
        lambda x, y: np.maximum(y, np.float32(math.sqrt(3) / 2) * np.abs(x) - y / 2),
        apothem=math.sqrt(math.pi / math.sqrt(27)),
        reach=2 * math.sqrt(math.pi / math.sqrt(27)),
    ),
    "diamond": Shape(
        lambda x, y: (np.abs(x) + np.abs(y)) * np.float32(math.sqrt(0.5)),
        apothem=math.sqrt(math.pi) / 2,
        reach=math.sqrt(math.pi / 2),
    ),
    "star": Shape(_star, apothem=_STAR_RADIUS * math.cos(_STAR_EDGE), reach=_STAR_RADIUS),
}
"""By the name in prompts; triangle and star stand on their base."""


def draw_discs(
    centres: np.ndarray, radii: np.ndarray, *, height: int, width: int, colour: Colour = BLUE
) -> np.ndarray:
    """Draw one disc on white in each frame, as `draw_objects` does."""
    frames = blank(len(centres), centres.shape[1], height=height, width=width)
    same = [0] * len(centres)
    draw_objects(frames, centres, radii, [SHAPES["circle"]], same, [colour], same)
    return frames


def blank(num_clips: int, num_frames: int, *, height: int, width: int) -> np.ndarray:
    """Return white frames (N, T, H, W, 3) uint8."""
    return np.full((num_clips, num_frames, height, width, 3), 255, np.uint8)


def draw_objects(
    frames: np.ndarray,
    centres: np.ndarray,
    radii: np.ndarray,
    shapes: Sequence[Shape],
    shape_ids: Sequence[int] | np.ndarray,
    colours: Sequence[Colour],
    colour_ids: Sequence[int] | np.ndarray,
) -> None:
    """Draw one object per clip over frames (N, T, H, W, 3) uint8, in place.

    centres (N, T, 2) and radii (N, T) are in pixels, x before y, with pixel (0, 0) centred on the
    origin and y growing downwards. Only a square around each object is computed; objects may lie
    partly or wholly outside.
    """
    num_frames = frames.shape[1]
    flat = frames.reshape(-1, *frames.shape[2:])
    x, y = centres.reshape(-1, 2).T
    column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    radius = radii.ravel()
    which, colour = (np.repeat(np.asarray(ids), num_frames) for ids in (shape_ids, colour_ids))
    reach = np.array([shape.reach for shape in shapes])[which] * radius
    half = np.ceil(reach / SIZE_STEP).astype(np.int64) * SIZE_STEP + 1
    ramps = np.concatenate([_ramp(c) for c in colours])
    for shape_id, size in np.unique(np.stack([which, half]), axis=1).T.tolist():
        chosen = np.flatnonzero((which == shape_id) & (half == size))
        levels = _levels(
            shapes[shape_id], (column - x)[chosen], (row - y)[chosen], radius[chosen], size
        )
        levels += (colour[chosen, None, None] * NUM_LEVELS).astype(levels.dtype)
        patches = ramps.take(levels, axis=0)  # several times faster than ramps[levels]
        corners = zip((row - size)[chosen].tolist(), (column - size)[chosen].tolist(), strict=True)
        for frame, patch, (top, left) in zip(chosen.tolist(), patches, corners, strict=True):
            _paste(flat[frame], patch, top, left)


def _paste(frame: np.ndarray, patch: np.ndarray, i: int, j: int) -> None:
    """Put a patch into a frame (H, W, 3), its corner at row i, column j; what sticks out is cut."""
    height, width = frame.shape[:2]
    top, left = max(i, 0), max(j, 0)
    visible = patch[top - i : max(height - i, 0), left - j : max(width - j, 0)]
    frame[top : top + visible.shape[0], left : left + visible.shape[1]] = visible


def _levels(
    shape: Shape, column: np.ndarray, row: np.ndarray, radius: np.ndarray, half: int
) -> np.ndarray:
    """Return coverage 0..15 on squares of side `2 * half + 1`, (N, side, side) int16.

    column, row: (N,) offset of the middle pixel from the shape's middle.
    """
    offset = np.arange(-half, half + 1, dtype=np.float32)
    x = (offset + column[:, None].astype(np.float32))[:, None, :]
    y = (offset + row[:, None].astype(np.float32))[:, :, None]
    edge = (shape.apothem * radius + 0.5).astype(np.float32)[:, None, None]
    coverage = edge - shape.gauge(x, y)
    return np.rint(np.clip(coverage, 0, 1) * (NUM_LEVELS - 1)).astype(np.int16)


def _ramp(colour: Colour) -> np.ndarray:
    """Return the colours from white to the object's, one for each coverage, (16, 3) uint8."""
    share = np.linspace(0, 1, NUM_LEVELS)[:, None]
    return np.rint((1 - share) * np.array(WHITE) + share * np.array(colour)).astype(np.uint8)
