"""Enlarge or shrink the frames of clips."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np

from t2vgan.errors import UserError
from t2vgan.media.clips import MAX_CLIP_PIXELS, MAX_SIDE
from t2vgan.utils.drawing_limits import check_sides

Resample = Literal["lanczos", "nearest"]


def choose_size(
    height: int, width: int, num_frames: int, *, scale: int | None, new_height: int | None
) -> tuple[int, int]:
    """Return the height and width that a clip is resized to.

    `scale` multiplies both sides; `new_height` keeps the aspect ratio; without either, the size
    stays the same.

    Raises:
        UserError: both are given, one is below 1, or the frames would be too large to save.
    """
    check_sides(scale=scale, height=new_height)
    if scale is not None:
        size = height * scale, width * scale
    elif new_height is not None:
        size = new_height, max(1, round(width * new_height / height))
    else:
        return height, width
    if max(size) > MAX_SIDE or num_frames * size[0] * size[1] > MAX_CLIP_PIXELS:
        raise UserError(
            f"clips of {num_frames} frames of {size[0]}x{size[1]} are too large: no side may "
            f"exceed {MAX_SIDE}, and all frames together {MAX_CLIP_PIXELS:,} pixels; give a "
            "smaller scale or height"
        )
    return size


def resize_frames(
    frames: np.ndarray, size: Sequence[int], *, resample: Resample = "lanczos"
) -> np.ndarray:
    """Resize frames (T, H, W, 3) uint8 to size (height, width).

    "lanczos" is smooth; "nearest" repeats pixels, so that each is visible.

    Raises:
        UserError: `resample` has another value.
    """
    from PIL import Image

    if resample not in get_args(Resample):
        raise UserError(f"resample={resample!r} must be one of {', '.join(get_args(Resample))}")
    height, width = size
    if frames.shape[1:3] == (height, width):
        return frames
    kernel = Image.Resampling[resample.upper()]
    pictures = (Image.fromarray(np.ascontiguousarray(picture)) for picture in frames)
    return np.stack([np.asarray(picture.resize((width, height), kernel)) for picture in pictures])
