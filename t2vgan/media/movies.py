"""Encode and decode MP4 and AVI in memory with PyAV (FFmpeg)."""

import io
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from t2vgan.media.cropping import read_cropping
from t2vgan.media.frames import HD_HEIGHT, FrameDecoder, playable_stream, rgb_of

if TYPE_CHECKING:
    import av

CODECS: dict[str, tuple[str, str | None, dict[str, object]]] = {
    # x264's macroblock tree reads uninitialized memory, so its output is not deterministic.
    "mp4": ("libx264", None, {"crf": "10", "preset": "medium", "mbtree": "0"}),
    "avi": ("mpeg4", "XVID", {"qmin": "1", "qmax": "2"}),
}
DEMUXERS = {"mp4": "mov", "avi": "avi"}


def encode_movie(frames: np.ndarray, *, format: str, fps: float, crf: int | None = None) -> bytes:
    """Return a high-quality MP4 or AVI file.

    MP4 is H.264, AVI is MPEG-4 part 2, tagged XVID. frames: (T, H, W, 3) uint8. `crf` sets the
    quality of H.264, from 0 (lossless) to 51 (worst). 4:2:0 colour needs even sides, so an odd one
    grows by a repeated row or column. There is one encoder thread, because x264's output depends on
    their number.
    """
    import av

    odd_height, odd_width = frames.shape[1] % 2, frames.shape[2] % 2
    frames = np.pad(frames, ((0, 0), (0, odd_height), (0, odd_width), (0, 0)), mode="edge")
    codec, tag, options = CODECS[format]
    file = io.BytesIO()
    with av.open(file, "w", format=format, options={"fflags": "+bitexact"}) as container:
        stream = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001))
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = options if crf is None else {**options, "crf": str(crf)}
        stream.codec_context.thread_count = 1
        if tag is not None:
            stream.codec_context.codec_tag = tag
        for picture in frames:
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            # Players assume another colour matrix for large pictures.
            matrix = "ITU709" if frame.height >= HD_HEIGHT else None
            frame = frame.reformat(format="yuv420p", dst_colorspace=matrix, threads=1)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def decode_movie(data: bytes, format: str) -> Iterator[np.ndarray]:
    """Yield the pictures that players show, (H, W, 3) uint8.

    The demuxer is named, never guessed, and reads from memory, so a disguised playlist opens no
    file.
    """
    import av

    with av.open(io.BytesIO(data), "r", format=DEMUXERS[format]) as container:
        stream = _playable_stream(container)
        cropping = read_cropping(stream)
        for frame in FrameDecoder(stream).frames(container.demux(stream)):
            yield rgb_of(frame, cropping)


def read_frame_rate(data: bytes, format: str) -> float | None:
    """Return the frame rate in a video's header.

    Raises what the demuxer raises.
    """
    import av

    with av.open(io.BytesIO(data), "r", format=DEMUXERS[format]) as container:
        stream = _playable_stream(container)
        rate = stream.average_rate or stream.guessed_rate
    return float(rate) if rate else None


def decode_clip(data: bytes, format: str, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Return the frames of a video that must have the given shape.

    They are (T, H, W, 3) uint8. An odd side may be larger by one in the file. The size in the
    header is checked before a picture is decoded. Raises ValueError if the shape differs.
    """
    import av

    num_frames, height, width, _ = shape
    frames = np.empty(shape, np.uint8)
    try:
        with av.open(io.BytesIO(data), "r", format=DEMUXERS[format]) as container:
            stream = _playable_stream(container)
            context = stream.codec_context
            cropping, stored = read_cropping(stream), _sides(context)
            rows = stored[0] - cropping.top - cropping.bottom
            columns = stored[1] - cropping.left - cropping.right
            # frames may be rotated by 90 degrees, which is only known once one is decoded
            if not any(_fits(sides, shape) for sides in ((rows, columns), (columns, rows))):
                raise ValueError(f"video is {columns}x{rows} pixels, expected {width}x{height}")
            context.thread_count = 1
            count = 0
            for frame in FrameDecoder(stream).frames(container.demux(stream)):
                if count == num_frames or _sides(frame) != stored:
                    raise ValueError(f"video has more than {num_frames} frames, or changes size")
                picture = rgb_of(frame, cropping)
                if not _fits(picture.shape[:2], shape):
                    shown = f"{picture.shape[1]}x{picture.shape[0]}"
                    raise ValueError(f"video is {shown} pixels as shown, expected {width}x{height}")
                frames[count] = picture[:height, :width]
                count += 1
    except av.FFmpegError as error:
        raise ValueError(f"video cannot be decoded ({error})") from None
    if count != num_frames:
        raise ValueError(f"video has {count} frames, expected {num_frames}")
    return frames


def _playable_stream(container: "av.container.InputContainer") -> "av.VideoStream":
    stream = playable_stream(container)
    if stream is None:
        raise ValueError("video has no stream that can be decoded")
    return stream


def _sides(picture: "av.VideoCodecContext | av.VideoFrame") -> tuple[int, int]:
    return picture.height, picture.width


def _fits(sides: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Return whether a picture's sides match a clip's.

    Odd sides may be larger by one.
    """
    height, width = shape[1:3]
    return sides in ((height, width), (height + height % 2, width + width % 2))
