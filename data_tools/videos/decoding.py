"""Decode source videos as a viewer would see them.

The only module of the data tools that opens videos with FFmpeg. Whatever a file is called, only
containers listed here are opened, and nothing inside one may open anything else: a playlist or an
edit list in disguise reads no other file and no address.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from .fitting import rotate
from .hdr import TRANSFERS
from .settings import ClipSettings, Limits, VideoError

if TYPE_CHECKING:
    import av

CONTAINERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,gif,wtv,mxf"
MAX_ROUNDING = Fraction(1, 2000)  # containers round times to their own clock, often milliseconds
UNTAGGED = 2  # AVCOL_SPC_UNSPECIFIED
HD_HEIGHT = 720  # from here on untagged colours are BT.709, as players assume


class ShownFrame(NamedTuple):
    """A frame and when it is shown, in seconds from the start."""

    start: Fraction
    end: Fraction
    frame: "av.VideoFrame"


@contextmanager
def open_video(
    file: BinaryIO, limits: Limits
) -> "Iterator[tuple[av.container.InputContainer, av.VideoStream]]":
    """Open a video and pick the stream that players show.

    The header's size and length are checked before a frame is decoded. Raises VideoError if they
    exceed the limits, or there is no stream.
    """
    import av

    with av.open(
        file,
        "r",
        options={"format_whitelist": CONTAINERS, "max_pixels": str(limits.max_pixels)},
        io_open=_refuse_to_open,
        metadata_errors="replace",
    ) as container:
        stream = _shown_stream(container)
        context = stream.codec_context
        if context.width * context.height > limits.max_pixels:
            raise VideoError(
                "limit", f"{context.width}x{context.height} pixels, limit {limits.max_pixels}"
            )
        seconds = (container.duration or 0) / 1_000_000
        if seconds > limits.max_seconds:
            raise VideoError("limit", f"{seconds:.0f} seconds, limit {limits.max_seconds:.0f}")
        context.thread_count = 1
        context.options = {"max_pixels": str(limits.max_pixels)}
        yield container, stream


def shown_frames(
    container: "av.container.InputContainer", stream: "av.VideoStream", limits: Limits
) -> Iterator[ShownFrame]:
    """Yield frames with the times during which they are shown."""
    length = 1 / (stream.average_rate or stream.guessed_rate or Fraction(25))
    first = shown = None
    start = Fraction(0)
    for number, frame in enumerate(_decoded(container, stream)):
        if number >= limits.max_frames:
            raise VideoError("limit", f"more than {limits.max_frames} frames")
        if frame.is_corrupt:
            if shown is None:  # a recording that starts between two key frames
                continue
            raise VideoError("decode", f"damaged near {float(start):.2f} s")
        time = frame.pts * frame.time_base if frame.pts is not None and frame.time_base else None
        if shown is None:
            first = time
        else:
            now = start + length if time is None or first is None else time - first
            if now <= start:  # broken clocks stand still or run back
                continue
            rounding = min((stream.time_base or Fraction(0)) / 2, MAX_ROUNDING)
            yield ShownFrame(start, now - rounding, shown)
            start = now
        shown = frame
    if shown is None:
        raise VideoError("decode", "no frame could be decoded")
    seconds = shown.duration * shown.time_base if shown.duration and shown.time_base else length
    yield ShownFrame(start, start + seconds, shown)


def _decoded(
    container: "av.container.InputContainer", stream: "av.VideoStream"
) -> "Iterator[av.VideoFrame]":
    """Yield frames up to a gap in the bytes, then raise VideoError."""
    sound = False
    for packet in container.demux(stream):
        if packet.is_corrupt and sound:
            raise VideoError(
                "decode", f"bytes are missing near {packet.pts} * {packet.time_base} s"
            )
        sound |= not packet.is_corrupt
        yield from packet.decode()


def cut_clips(
    frames: Iterator[ShownFrame],
    settings: ClipSettings,
    convert: "Callable[[av.VideoFrame, int], np.ndarray]",
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number, frames (T, H, W, 3)) of each clip.

    Each of its frames is the one shown at that time; `convert(frame, clip)` makes the picture. A
    clip that the video is too short for is left out.
    """
    step, num_frames = settings.frame_step, settings.geometry.num_frames
    begun: dict[int, list[np.ndarray]] = {}
    upcoming = 0
    for shown in frames:
        while upcoming * settings.clip_step < shown.end and (
            upcoming < settings.clips_per_video or not settings.clips_per_video
        ):
            begun[upcoming] = []
            upcoming += 1
        for clip, pictures in list(begun.items()):
            start = clip * settings.clip_step
            while len(pictures) < num_frames and start + len(pictures) * step < shown.end:
                pictures.append(convert(shown.frame, clip))
            if len(pictures) == num_frames:
                yield clip, np.stack(begun.pop(clip))
        if not begun and upcoming == settings.clips_per_video:
            return


def picture_of(frame: "av.VideoFrame") -> np.ndarray:
    """Return a frame as shown, (H, W, 3): uint8 RGB, HDR uint16."""
    if any(part.is_alpha for part in frame.format.components) or frame.format.name == "pal8":
        rgba = _converted(frame, "rgba")  # shown on black
        picture = (rgba[..., :3] * (rgba[..., 3:] / np.float32(255)) + 0.5).astype(np.uint8)
    elif transfer_of(frame) in TRANSFERS:
        picture = _converted(frame, "rgb48le")
    else:
        picture = _converted(frame, "rgb24")
    return rotate(picture, frame.rotation)


def _converted(frame: "av.VideoFrame", format: str) -> np.ndarray:
    """Convert pixels by their tagged colour matrix, or the size's usual one."""
    matrix: int | str = frame.colorspace
    if matrix == UNTAGGED:
        matrix = "ITU709" if frame.height >= HD_HEIGHT else "ITU601"
    return frame.to_ndarray(
        format=format,
        src_colorspace=matrix,
        src_color_range=frame.color_range or None,
        dst_color_range="JPEG",
    )


def transfer_of(frame: "av.VideoFrame") -> str:
    """Return the name of a frame's transfer function."""
    import av

    try:
        return av.video.reformatter.ColorTrc(frame.color_trc).name
    except ValueError:
        return "UNSPECIFIED"


def pixel_aspect_of(stream: "av.VideoStream", frame: "av.VideoFrame") -> float:
    """Return how wide a pixel is shown over how high, after rotation."""
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    return 1 / aspect if round(frame.rotation / 90) % 2 else aspect


def _shown_stream(container: "av.container.InputContainer") -> "av.VideoStream":
    from av.stream import Disposition

    streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if not streams:
        raise VideoError("no_video", "no video stream")
    playable = [stream for stream in streams if stream.codec_context is not None]
    if not playable:
        raise VideoError("no_decoder", "its codec is not known here")
    best = container.streams.best("video")
    return best if best in playable else playable[0]


def _refuse_to_open(url: str, flags: int, options: dict[str, str]) -> BinaryIO:
    raise VideoError("refused", f"the file asks to open {url[:100]!r}")
