"""Fit pictures to a clip's size: crop or pad, area-average."""

import numpy as np

from t2vgan.data.shards import Geometry

from .settings import Fit


def fit_picture(
    picture: np.ndarray,
    geometry: Geometry,
    fit: Fit,
    *,
    pixel_aspect: float = 1.0,
    place: tuple[float, float] = (0.5, 0.5),
) -> np.ndarray:
    """Return a picture (H, W, 3) at a clip's height and width.

    pixel_aspect: width / height of a stored pixel as shown. place: position of the crop within the
    excess, (down, right), each 0 to 1.
    """
    if fit == "pad":
        return _pad(picture, geometry, pixel_aspect)
    height, width = picture.shape[:2]
    scale = max(geometry.height / height, geometry.width / (width * pixel_aspect))
    crop_height = min(height, max(1, round(geometry.height / scale)))
    crop_width = min(width, max(1, round(geometry.width / scale / pixel_aspect)))
    top = round(place[0] * (height - crop_height))
    left = round(place[1] * (width - crop_width))
    cropped = picture[top : top + crop_height, left : left + crop_width]
    return _resize(cropped, geometry.height, geometry.width)


def _pad(picture: np.ndarray, geometry: Geometry, pixel_aspect: float) -> np.ndarray:
    height, width = picture.shape[:2]
    scale = min(geometry.height / height, geometry.width / (width * pixel_aspect))
    inner_height = min(geometry.height, max(1, round(height * scale)))
    inner_width = min(geometry.width, max(1, round(width * pixel_aspect * scale)))
    top, left = (geometry.height - inner_height) // 2, (geometry.width - inner_width) // 2
    framed = np.zeros((geometry.height, geometry.width, picture.shape[2]), picture.dtype)
    inner = _resize(picture, inner_height, inner_width)
    framed[top : top + inner_height, left : left + inner_width] = inner
    return framed


def _resize(picture: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a picture, averaging areas where it shrinks."""
    import cv2

    return cv2.resize(np.ascontiguousarray(picture), (width, height), interpolation=cv2.INTER_AREA)
