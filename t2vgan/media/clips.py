"""Save and load clips."""

import base64
import io
import os
import re
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from t2vgan.errors import UserError
from t2vgan.media.animations import MAX_GIF_FPS, encode_gif, encode_webp
from t2vgan.media.frames import lay_on_black
from t2vgan.media.movies import decode_movie, encode_movie
from t2vgan.media.sheets import film_strips
from t2vgan.utils.files import atomic_write_bytes, fsync_path

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("gif", "mp4", "avi", "webp", "png")
LOADABLE_FORMATS = ("gif", "mp4", "avi", "webp")
MIN_FPS, MAX_FPS = 0.1, 1000.0
MAX_CLIP_PIXELS = 2**28  # all frames: 0.8 GB of RGB, 3 GB in float32; small files can claim more
MAX_CLIP_BYTES = 2**30
MAX_SIDE = 2**14 - 1  # what WebP can hold, and more than players show


def save_clip(path: Path | str, frames: np.ndarray, *, fps: float = 10) -> None:
    """Write a clip in the format that the file's suffix names.

    path: ends with .gif, .mp4, .avi, .webp or .png. frames: (T, H, W, 3) uint8 RGB. GIF and WebP
    loop forever; WebP and PNG (a film strip, frames side by side) are lossless. MP4 is H.264, AVI
    is XVID: both store colour at half the resolution, and an odd height or width grows by one
    repeated row or column. The same frames give the same bytes. The file is written atomically.
    Raises UserError for another suffix or an invalid frame rate.
    """
    atomic_write_bytes(path, encode_clip(frames, format=parse_format(path, FORMATS), fps=fps))


def encode_clip(frames: np.ndarray, *, format: str, fps: float = 10) -> bytes:
    """Return the bytes of the file that `save_clip` would write."""
    check_frames(frames)
    if not MIN_FPS <= fps <= MAX_FPS:
        raise UserError(f"fps={fps} must be between {MIN_FPS} and {MAX_FPS:g} frames per second")
    if max(frames.shape[1:3]) > MAX_SIDE and format != "png":
        raise UserError(
            f"a clip of {frames.shape[2]}x{frames.shape[1]} pixels is too large:"
            f" no side may exceed {MAX_SIDE}"
        )
    match format:
        case "gif":
            return encode_gif(frames, fps=fps)
        case "webp":
            return encode_webp(frames, fps=fps)
        case "png":
            return encode_png(film_strips(frames[np.newaxis]))
        case "mp4" | "avi":
            return encode_movie(frames, format=format, fps=fps)
    raise UserError(f"format={format!r} must be one of {', '.join(FORMATS)}")


def save_frame_folder(folder: Path | str, frames: np.ndarray) -> None:
    """Write frames as frame_0.png, frame_1.png, ... into a folder.

    The folder appears complete or not at all. Frames saved there before are replaced. Raises
    UserError if the folder holds anything else.
    """
    check_frames(frames)
    folder = Path(folder)
    check_replaceable(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=folder.parent) as temporary:
        new, old = Path(temporary, "new"), Path(temporary, "old")
        new.mkdir()
        for index, picture in enumerate(frames):
            (new / f"frame_{index}.png").write_bytes(encode_png(picture))
        for entry in (*new.iterdir(), new):
            fsync_path(entry)
        if folder.exists():
            folder.rename(old)
        new.rename(folder)
        fsync_path(folder.parent)


def load_clip(path: Path | str) -> np.ndarray:
    """Return the frames of a .gif, .mp4, .avi or .webp file.

    They are (T, H, W, 3) uint8 RGB. Raises UserError for another suffix, for a file that cannot be
    decoded, and for one that holds more than 2**28 pixels.
    """
    path = Path(path)
    format = parse_format(path, LOADABLE_FORMATS)
    if path.stat().st_size > MAX_CLIP_BYTES:
        raise UserError(f"{path}: clips of more than {MAX_CLIP_BYTES} bytes are not read")
    data = path.read_bytes()
    pictures = decode_animation(data) if format in ("gif", "webp") else decode_movie(data, format)
    try:
        return np.stack(list(limit_pixels(pictures)))
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    except Exception as error:  # decoders raise a dozen kinds of exception on hostile bytes
        raise UserError(f"{path}: cannot be decoded as {format}: {error}") from error


def format_rate_note(format: str, fps: float) -> str:
    """Return a note if a format cannot store a frame rate."""
    if format != "gif" or fps <= MAX_GIF_FPS:
        return ""
    return (
        f"note: a .gif plays at {MAX_GIF_FPS} frames/s, not {fps:g}; .webp and .mp4 keep the rate"
    )


def to_data_uri(frames: np.ndarray, *, format: str = "webp", fps: float = 10) -> str:
    """Return a clip as a data URI for HTML.

    It is the `src` of an <img>, or of a <video> if the format is mp4.
    """
    kind = "video" if format in ("mp4", "avi") else "image"
    data = base64.b64encode(encode_clip(frames, format=format, fps=fps)).decode()
    return f"data:{kind}/{format};base64,{data}"


def parse_format(path: Path | str, formats: tuple[str, ...]) -> str:
    """Return the format that a path's suffix names."""
    format = Path(path).suffix.lower().removeprefix(".")
    if format not in formats:
        raise UserError(f"{path}: its suffix must be one of .{', .'.join(formats)}")
    return format


def check_frames(frames: np.ndarray) -> None:
    """Raise ValueError unless frames are non-empty (T, H, W, 3) uint8."""
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] != 3 or not frames.size:
        raise ValueError(f"frames must be (T, H, W, 3) uint8, not {frames.shape} {frames.dtype}")


def check_replaceable(folder: Path) -> None:
    """Raise UserError if saving frames in `folder` would destroy something else."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise UserError(
            f"{folder} is a file; move it away, so that a folder of frames can be written"
        )
    for name in os.listdir(folder):
        if not re.fullmatch(r"frame_\d+\.png", name):
            raise UserError(f"{folder} holds {name} besides frames; choose another folder")


def encode_png(picture: np.ndarray) -> bytes:
    """Return a picture (H, W, 3) uint8 as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(file, "PNG")
    return file.getvalue()


def decode_animation(data: bytes) -> Iterator[np.ndarray]:
    """Yield a GIF or WebP file's pictures, (H, W, 3) uint8."""
    from PIL import Image, ImageSequence

    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        animation = Image.open(io.BytesIO(data), formats=["GIF", "WEBP"])
    with animation:
        check_num_pixels(animation.width * animation.height)
        for picture in ImageSequence.Iterator(animation):
            yield as_rgb(picture)


def as_rgb(picture: "Image") -> np.ndarray:
    """Return a picture on black, (H, W, 3) uint8."""
    if picture.has_transparency_data:
        return lay_on_black(np.asarray(picture.convert("RGBA")))
    return np.asarray(picture.convert("RGB"))


def limit_pixels(pictures: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Yield pictures; raise UserError once their total pixels are too many."""
    num_pixels = 0
    for picture in pictures:
        num_pixels += picture.shape[0] * picture.shape[1]
        check_num_pixels(num_pixels)
        yield picture


def check_num_pixels(num_pixels: int) -> None:
    """Raise UserError if a clip is too large to be read."""
    if num_pixels > MAX_CLIP_PIXELS:
        raise UserError(f"clips of more than {MAX_CLIP_PIXELS} pixels are not read")
