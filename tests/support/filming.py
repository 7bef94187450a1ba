"""Source videos for the tests, made here: any codec, container, clock, rotation or colour tag."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np


@dataclass(frozen=True)
class Film:
    """How a film is written."""

    codec: str = "libx264"
    pix_fmt: str = "yuv420p"
    rate: Fraction = Fraction(10)
    options: dict[str, str] = field(default_factory=lambda: {"crf": "5", "preset": "veryfast"})
    rotation: int = 0
    """Degrees counterclockwise."""
    mirrored: bool = False
    """Left and right exchanged, after the rotation."""
    aspect: Fraction | None = None
    audio: bool = False
    tags: dict[str, int] = field(default_factory=dict)
    """Colour tags of the codec: color_trc, colorspace, color_primaries, color_range."""


def write_film(
    path: Path,
    pictures: Iterable[np.ndarray],
    film: Film = Film(),
    times: Sequence[Fraction] = (),
) -> Path:
    """Write pictures (H, W, 3 or 4) uint8, or uint16 for rgb48le, each shown from its time on."""
    with av.open(path, "w") as container:
        stream = container.add_stream(film.codec, rate=film.rate, options=film.options)
        stream.pix_fmt = film.pix_fmt
        for name, value in film.tags.items():
            setattr(stream.codec_context, name, value)
        if film.aspect:
            stream.codec_context.sample_aspect_ratio = film.aspect
        if film.rotation or film.mirrored:
            stream.set_display_rotation(film.rotation, hflip=film.mirrored)
        sound = container.add_stream("aac", rate=8000) if film.audio else None
        clock = Fraction(1, 1000) if times else 1 / film.rate
        stream.codec_context.time_base = clock
        pictures = list(pictures)
        stream.height, stream.width = pictures[0].shape[:2]
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
            silence.rate, silence.pts = 8000, 0
            container.mux([*sound.encode(silence), *sound.encode(None)])
        for number, picture in enumerate(pictures):
            frame = as_frame(picture, film)
            frame.pts = round(times[number] / clock) if times else number
            frame.time_base = clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def as_frame(picture: np.ndarray, film: Film) -> av.VideoFrame:
    """Turn a picture into a frame of the film's pixel format, its colours by the film's tags."""
    kind = {4: "rgba", 3: "rgb48le" if picture.dtype == np.uint16 else "rgb24"}[picture.shape[2]]
    frame = av.VideoFrame.from_ndarray(picture, format=kind)
    wide = film.tags.get("color_range") == 2
    return frame.reformat(
        format=film.pix_fmt,
        dst_colorspace=film.tags.get("colorspace", "ITU601"),
        src_color_range="JPEG",
        dst_color_range="JPEG" if wide else "MPEG",
    )


def counting(num_pictures: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """Return grey pictures, number i of brightness 10 * i + 20: each tells when it was shown."""
    return [np.full((height, width, 3), 10 * i + 20, np.uint8) for i in range(num_pictures)]


def numbers_of(frames: np.ndarray) -> list[int]:
    """Read the pictures' numbers back from frames (T, H, W, 3) of a counting film."""
    return [round((float(frame.mean()) - 20) / 10) for frame in frames]
