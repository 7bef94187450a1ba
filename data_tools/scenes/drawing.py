"""Draw anti-aliased discs, many frames at once."""

import math

import numpy as np

Colour = tuple[int, int, int]
WHITE: Colour = (255, 255, 255)
BLUE: Colour = (0, 0, 255)

NUM_LEVELS = 16  # of coverage: they look like 256, and make film strips smaller


def draw_discs(
    x: np.ndarray,
    y: np.ndarray,
    radius: np.ndarray,
    *,
    height: int,
    width: int,
    colour: Colour = BLUE,
    background: Colour = WHITE,
) -> np.ndarray:
    """Draw one disc per frame and return the frames (N, H, W, 3) uint8.

    x, y, radius: (N,) pixels, with pixel (0, 0) centred on the origin and y growing downwards.
    Coverage of a pixel is the analytic half-plane ramp `radius + 1/2 - distance`, cut to 0..1.
    Only a patch around each disc is computed; discs may lie partly or wholly outside.
    """
    half = math.ceil(radius.max(initial=0)) + 1
    column, row = np.rint(x).astype(np.int64), np.rint(y).astype(np.int64)
    patches = _patches(column - x, row - y, radius, half, _ramp(background, colour))
    frames = np.empty((len(x), height, width, 3), np.uint8)
    frames[:] = np.full((height, width, 3), background, np.uint8)
    for frame, patch, i, j in zip(
        frames, patches, (row - half).tolist(), (column - half).tolist(), strict=True
    ):
        top, left = max(i, 0), max(j, 0)
        visible = patch[top - i : max(height - i, 0), left - j : max(width - j, 0)]
        frame[top : top + visible.shape[0], left : left + visible.shape[1]] = visible
    return frames


def _patches(
    column: np.ndarray, row: np.ndarray, radius: np.ndarray, half: int, ramp: np.ndarray
) -> np.ndarray:
    """Draw discs on squares of side `2 * half + 1`, (N, side, side, 3) uint8.

    column, row: (N,) offset of the middle pixel from the disc's centre.
    """
    offset = np.arange(-half, half + 1, dtype=np.float32)
    across = (offset + column[:, None].astype(np.float32)) ** 2  # (N, side)
    down = (offset + row[:, None].astype(np.float32)) ** 2
    distance = np.sqrt(down[:, :, None] + across[:, None, :])  # (N, side, side)
    coverage = (radius[:, None, None] + 0.5).astype(np.float32) - distance
    levels = np.rint(np.clip(coverage, 0, 1) * (NUM_LEVELS - 1)).astype(np.uint8)
    return ramp.take(levels, axis=0)  # several times faster than ramp[levels]


def _ramp(background: Colour, colour: Colour) -> np.ndarray:
    """Return the colours from background to disc, one for each coverage, (16, 3) uint8."""
    share = np.linspace(0, 1, NUM_LEVELS)[:, None]
    return np.rint((1 - share) * np.array(background) + share * np.array(colour)).astype(np.uint8)
