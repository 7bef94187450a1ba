"""MP4 and AVI films in memory, through PyAV (FFmpeg)."""

import io
from collections.abc import Iterator
from fractions import Fraction

import numpy as np

CODECS: dict[str, tuple[str, str | None, dict[str, object]]] = {
    "mp4": ("libx264", None, {"crf": "10", "preset": "medium"}),
    "avi": ("mpeg4", "XVID", {"qmin": "1", "qmax": "2"}),
}
DEMUXERS = {"mp4": "mov", "avi": "avi"}


def encode_movie(frames: np.ndarray, *, format: str, fps: float) -> bytes:
    """Return an MP4 (H.264) or AVI (MPEG-4 part 2, tagged XVID) of high quality.

    frames: (T, H, W, 3) uint8. 4:2:0 colour wants even sides: an odd one grows by a repeated row or
    column. One encoder thread, because x264's output depends on how many there are.
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
        stream.options = options
        stream.codec_context.thread_count = 1
        if tag is not None:
            stream.codec_context.codec_tag = tag
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


def decode_movie(data: bytes, format: str) -> Iterator[np.ndarray]:
    """Yield the pictures (H, W, 3) uint8 of a film's first video stream.

    The demuxer is named, never guessed, and it reads memory: a playlist in disguise opens nothing.
    """
    import av

    with av.open(io.BytesIO(data), "r", format=DEMUXERS[format]) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")
