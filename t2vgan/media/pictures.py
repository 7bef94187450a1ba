"""Load clips stored as PNG: frame folders and film strips."""

import re
from pathlib import Path

import numpy as np

from t2vgan.errors import UserError
from t2vgan.media.clips import as_rgb, check_num_pixels
from t2vgan.media.sheets import split_film_strips


def load_frame_folder(folder: Path | str) -> np.ndarray:
    """Return the frames of a folder's PNG files, ordered by number.

    They are (T, H, W, 3) uint8. Files are ordered by the last number in their names: frame_2.png
    comes before frame_10.png. Raises UserError for a folder without PNG files, and for pictures
    that are damaged, of different sizes or too many.
    """
    files = sorted(Path(folder).glob("*.png"), key=lambda file: (_number(file), file.name))
    if not files:
        raise UserError(f"{folder}: holds no .png files")
    pictures: list[np.ndarray] = []
    for file in files:
        pictures.append(load_picture(file))
        check_num_pixels(len(pictures) * pictures[0].shape[0] * pictures[0].shape[1])
        if pictures[-1].shape != pictures[0].shape:
            raise UserError(f"{file}: its size differs from that of {files[0].name}")
    return np.stack(pictures)


def load_film_strip(path: Path | str, *, num_frames: int) -> np.ndarray:
    """Return a PNG film strip's frames, (T, H, W, 3) uint8."""
    picture = load_picture(path)
    height, width = picture.shape[:2]
    if width % num_frames:
        raise UserError(f"{path}: its width of {width} must be a multiple of {num_frames} frames")
    size = {"height": height, "width": width // num_frames}
    return split_film_strips(picture, num_frames=num_frames, **size)[0]


def load_picture(path: Path | str) -> np.ndarray:
    """Return a PNG file as (H, W, 3) uint8.

    Raises UserError if it cannot be decoded.
    """
    from PIL import Image

    try:
        with Image.open(path, formats=["PNG"]) as picture:
            check_num_pixels(picture.width * picture.height)
            return as_rgb(picture)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except Exception as error:  # decoders raise a dozen kinds of exception on hostile bytes
        raise UserError(f"{path}: cannot be decoded as png: {error}") from error


def _number(file: Path) -> int:
    numbers = re.findall(r"\d+", file.stem)
    return int(numbers[-1]) if numbers else -1
