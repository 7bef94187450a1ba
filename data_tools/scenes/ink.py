"""Draw small pictures of ink large and smooth, many frames at once."""

import math
from collections.abc import Sequence

import numpy as np

from .drawing import NUM_LEVELS, cut_square
from .motions import Paths

PICTURE_REACH = 1.25  # of a picture's radius: as far as the spline carries ink from its middle
FAINTEST, DARKEST = 0.2, 0.65  # ink that just shows, and ink that is black


def draw_ink(
    grey: np.ndarray, clips: Sequence[int], paths: Paths, ink: np.ndarray, *, largest: float
) -> None:
    """Draw each of n pictures along its path, in place.

    Picture i is drawn along path i into grey[clips[i]]; grey (N, T, H, W) uint8, ink (n, S, S)
    float32 from 0 to 1. A picture's side is twice its path's radius, which is at most `largest`.
    Strokes are cubic splines drawn anew in every frame, so that they move by parts of a pixel; what
    lies outside the frame is cut off.
    """
    half = math.ceil(PICTURE_REACH * largest) + 1
    side = 2 * half + 1
    corners = np.rint(paths.centres).astype(np.int64) - half  # (n, T, 2), x before y
    away = corners[..., None] + np.arange(side) - paths.centres[..., None]
    cell = 2 * paths.radii[..., None, None] / ink.shape[1]
    weights = _spline(away / cell, ink.shape[1])  # (n, T, 2, side, S)
    strokes = weights[:, :, 1] @ ink[:, None] @ weights[:, :, 0].swapaxes(-1, -2)
    coverage = np.clip((strokes - FAINTEST) / (DARKEST - FAINTEST), 0, 1)
    levels = np.rint(coverage * (NUM_LEVELS - 1)).astype(np.uint8)
    patches = 255 - levels * np.uint8(255 // (NUM_LEVELS - 1))
    for clip, places, some in zip(clips, corners.tolist(), patches, strict=True):
        for frame, (left, top), patch in zip(grey[clip], places, some, strict=True):
            square, part = cut_square(frame, top, left, side)
            np.minimum(square, patch[part], out=square)


def _spline(place: np.ndarray, num_cells: int) -> np.ndarray:
    """Return the weight of each cell, (..., num_cells).

    place: (...) in cells from the middle. The kernel is that of cubic convolution with a = -1/2
    (Keys 1981); outside there is no ink.
    """
    cells = np.arange(num_cells) - (num_cells - 1) / 2
    d = np.abs(place.astype(np.float32)[..., None] - cells.astype(np.float32))
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((2.5 - 0.5 * d) * d - 4) * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, np.float32(0)))
