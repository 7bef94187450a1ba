"""Draw anti-aliased shapes, many frames at once.

A shape is defined by a gauge: a function of the position that is proportional to the distance from
the shape's centre and whose slope across an edge is 1. So `apothem * radius + 1/2 - gauge`, clipped
to 0..1, is a pixel's coverage by the analytic half-plane ramp. Every shape of a given radius has
the area of a disc of that radius.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
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

NUM_LEVELS = 16  # of coverage: looks like 256 levels, but film strips are smaller
SIZE_STEP = 4  # pixels between the sizes of drawn squares: similar objects share one size


@dataclass(frozen=True)
class Shape:
    """The gauge of a shape and its extent for radius 1."""

    gauge: Callable[[np.ndarray, np.ndarray], np.ndarray]
    """x (N, 1, S) and y (N, S, 1) relative to the shape's centre -> (N, S, S)."""
    apothem: float
    """Value of the gauge at the edges of the shape of radius 1."""
    reach: float
    """Extent of the shape of radius 1 from its centre, the larger of x and y."""


def _star(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the gauge of a five-pointed star with one tip up.

    By symmetry, only the tip nearest to a position matters; its edge is a straight line.
    """
    along = np.maximum(-y, _STAR_TIP[0, 0] * np.abs(x) - _STAR_TIP[0, 1] * y)
    along = np.maximum(along, _STAR_TIP[1, 0] * np.abs(x) - _STAR_TIP[1, 1] * y)
    beside = np.sqrt(np.maximum(x * x + y * y - along * along, 0))
    return math.cos(_STAR_EDGE) * along + math.sin(_STAR_EDGE) * beside


_FIFTH = 2 * math.pi / 5
_STAR_TIP = np.array([[math.sin(k * _FIFTH), math.cos(k * _FIFTH)] for k in (1, 2)], np.float32)
_STAR_WAIST = 0.5  # inner radius / outer radius
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
"""Name in prompts -> shape; triangle and star stand upright."""


def blank(num_clips: int, num_frames: int, *, height: int, width: int) -> np.ndarray:
    """Return white frames (N, T, H, W, 3) uint8."""
    return np.full((num_clips, num_frames, height, width, 3), 255, np.uint8)


def draw_objects(
    frames: np.ndarray,
    centres: np.ndarray,
    radii: np.ndarray,
    shapes: Sequence[str],
    colours: Sequence[str],
    *,
    on_white: bool = False,
) -> None:
    """Draw one object with soft edges per clip, in place.

    frames: (N, T, H, W, 3) uint8. centres (N, T, 2) and radii (N, T) are in pixels, x before y,
    with pixel (0, 0) centred on the origin and y pointing down. Only a square around each object is
    computed; objects may lie partly or completely outside. `on_white` says that the frames are
    still white, which is faster and gives the same pixels.
    """
    num_frames = frames.shape[1]
    flat = frames.reshape(-1, *frames.shape[2:])
    x, y = centres.reshape(-1, 2).T
    column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    radius = radii.ravel()
    which, colour = (
        np.repeat([list(known).index(name) for name in names], num_frames)
        for known, names in ((SHAPES, shapes), (COLOURS, colours))
    )
    outlines = list(SHAPES.values())
    reach = np.array([shape.reach for shape in outlines])[which] * radius
    half = np.ceil(reach / SIZE_STEP).astype(np.int64) * SIZE_STEP + 1
    paint = _paint_on_white if on_white else _paint_over
    for shape_id, size in sorted(set(zip(which.tolist(), half.tolist(), strict=True))):
        chosen = np.flatnonzero((which == shape_id) & (half == size))
        levels = _levels(
            outlines[shape_id], (column - x)[chosen], (row - y)[chosen], radius[chosen], size
        )
        corners = zip((row - size)[chosen].tolist(), (column - size)[chosen].tolist(), strict=True)
        side = 2 * size + 1
        views = [cut_square(flat[i], *next(corners), side) for i in chosen.tolist()]
        paint(views, levels, colour[chosen])


# The part of a square inside a frame, (h, w, 3), and its (rows, columns) in the square.
ImagePatch = tuple[np.ndarray, tuple[slice, slice]]


def cut_square(frame: np.ndarray, i: int, j: int, side: int) -> ImagePatch:
    """Return the square with corner (i, j), clipped to the frame."""
    height, width = frame.shape[:2]
    top, left, bottom, right = max(i, 0), max(j, 0), min(i + side, height), min(j + side, width)
    bottom, right = max(bottom, top), max(right, left)
    part = (slice(top - i, bottom - i), slice(left - j, right - j))
    return frame[top:bottom, left:right], part


def _paint_on_white(
    views: Iterable[ImagePatch], levels: np.ndarray, colour_ids: np.ndarray
) -> None:
    ramps = np.concatenate([_ramp(colour) for colour in COLOURS.values()])
    levels = levels + (colour_ids[:, None, None] * NUM_LEVELS).astype(levels.dtype)
    patches = ramps.take(levels, axis=0)  # several times faster than ramps[levels]
    for (square, part), patch in zip(views, patches, strict=True):
        square[...] = patch[part]


def _paint_over(views: Iterable[ImagePatch], levels: np.ndarray, colour_ids: np.ndarray) -> None:
    palette = np.array(list(COLOURS.values()), np.float32)[colour_ids]
    shares = (levels / np.float32(NUM_LEVELS - 1))[..., None]
    for (square, part), share, colour in zip(views, shares, palette, strict=True):
        square[...] = square + (colour - square) * share[part] + np.float32(0.5)


def _levels(
    shape: Shape, column: np.ndarray, row: np.ndarray, radius: np.ndarray, half: int
) -> np.ndarray:
    """Return the coverage 0..15, (N, side, side) int16.

    side is `2 * half + 1`; column, row: (N,) offset of the middle pixel from the shape's centre.
    """
    offset = np.arange(-half, half + 1, dtype=np.float32)
    x = (offset + column[:, None].astype(np.float32))[:, None, :]
    y = (offset + row[:, None].astype(np.float32))[:, :, None]
    edge = (shape.apothem * radius + 0.5).astype(np.float32)[:, None, None]
    coverage = edge - shape.gauge(x, y)
    return np.rint(np.clip(coverage, 0, 1) * (NUM_LEVELS - 1)).astype(np.int16)


def _ramp(colour: Colour) -> np.ndarray:
    """Return the colours from white to the object's, (16, 3) uint8."""
    share = np.linspace(0, 1, NUM_LEVELS)[:, None]
    return np.rint((1 - share) * np.array(WHITE) + share * np.array(colour)).astype(np.uint8)
