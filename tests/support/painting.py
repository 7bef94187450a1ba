"""A brush of the tests' own, so that the meter is not only tested on what data_tools draws."""

import numpy as np
from numpy.typing import ArrayLike

TIME = np.linspace(0, 1, 10)
BLUE = (0, 0, 255)


def paint(
    x: ArrayLike,
    y: ArrayLike,
    radius: ArrayLike = 5.0,
    *,
    colour: ArrayLike = BLUE,
    background: int = 255,
    size: int = 64,
) -> np.ndarray:
    """Paint one hard-edged disc per frame, (T, size, size, 3); arguments per frame or for all."""
    x, y, radius = np.broadcast_arrays(x, y, radius)
    row, column = np.mgrid[:size, :size]
    inside = np.hypot(column - x[:, None, None], row - y[:, None, None]) <= radius[:, None, None]
    colours = np.broadcast_to(np.uint8(colour), (len(x), 3))[:, None, None]
    return np.where(inside[..., None], colours, np.uint8(background))
