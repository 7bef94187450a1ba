"""Decode source videos as a viewer would see them.

This is the only module of the data tools that opens videos with FFmpeg. Whatever a file's name,
only the containers listed here are opened, and nothing inside one may open anything else: a
disguised playlist or edit list reads no other file and no address.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from t2vgan.media.frames import FrameDecoder, orientation_of, playable_stream

from .settings import ClipSettings, Limits, VideoError
from .transport_stream import is_joint

if TYPE_CHECKING:
    import av

CONTAINERS = "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,gif,wtv,mxf"
MAX_ROUNDING = Fraction(1, 2000)  # containers round times to their clock, often to milliseconds
MAX_STEP_AHEAD = 10  # seconds, FFmpeg's -dts_delta_threshold
MAX_STEP_BACK = Fraction(1, 10)
MAX_MARKED = 2  # packets before a joint; the parser marks the second to last
TS_DISCONT = 0x200  # AVFMT_TS_DISCONT: MPEG-TS, MPEG-PS, Ogg


class ShownFrame(NamedTuple):
    """A frame and when it is shown, in seconds from the start."""

    start: Fraction
    end: Fraction
    frame: "av.VideoFrame"


@contextmanager
def open_video(
    file: BinaryIO, limits: Limits
) -> "Iterator[tuple[av.container.InputContainer, av.VideoStream]]":
    """Open a video and select the stream that players show.

    The header's frame size and duration are checked before a frame is decoded. Raises VideoError if
    they exceed the limits or there is no video stream.
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
                "limit",
                f"{context.width}x{context.height} pixels,"
                f" more than the limit of {limits.max_pixels}",
            )
        _check_claimed_length(container, stream, limits)
        context.thread_count = 1
        context.options = {"max_pixels": str(limits.max_pixels)}
        yield container, stream


class FrameClock:
    """Choose the better of a frame's two timestamps, like guess_correct_pts of FFmpeg.

    AVI has no presentation timestamps: where B-frames make them run backwards, the decoding
    timestamps are right.
    """

    def __init__(self) -> None:
        self._last_pts: int | None = None
        self._last_dts: int | None = None
        self._num_bad_pts = self._num_bad_dts = 0

    def read(self, frame: "av.VideoFrame") -> Fraction | None:
        """Return a frame's presentation time in seconds of the stream's clock."""
        pts, dts = frame.pts, frame.dts
        self._num_bad_pts += _runs_back(self._last_pts, pts)
        self._num_bad_dts += _runs_back(self._last_dts, dts)
        self._last_pts = dts if pts is None else pts
        self._last_dts = pts if dts is None else dts
        trusted = pts is not None and (dts is None or self._num_bad_pts <= self._num_bad_dts)
        return _seconds(pts if trusted else dts, frame.time_base)


def _runs_back(last: int | None, now: int | None) -> bool:
    return last is not None and now is not None and now <= last


def shown_frames(
    file: BinaryIO,
    container: "av.container.InputContainer",
    stream: "av.VideoStream",
    limits: Limits,
) -> Iterator[ShownFrame]:
    """Yield frames with the times during which they are shown.

    Where the stream's clock jumps, the next frame follows immediately, as in a player.
    """
    usual = 1 / (stream.average_rate or stream.guessed_rate or Fraction(25))
    rounding = min((stream.time_base or Fraction(0)) / 2, MAX_ROUNDING)
    shown = before = None
    start = Fraction(0)
    decoder, clock = FrameDecoder(stream), FrameClock()
    for frame in decoder.frames(_sound_packets(file, container, stream)):
        if frame.is_corrupt:
            if shown is None:  # the recording starts between two key frames
                continue
            raise VideoError("decode", f"damaged near {float(start):.2f} s")
        time = clock.read(frame)
        if shown is not None:
            length = _length(shown, before, decoder.repeated_until) or usual
            if time is None and before is not None:
                time = before + length
            step = length if time is None or before is None else time - before
            if _is_break(step, container):
                step = length
            elif step <= 0:  # the clock stands still
                continue
            yield _checked(ShownFrame(start, start + step - rounding, shown), limits)
            start += step
        shown, before = frame, time
    if shown is None:
        raise VideoError("decode", "no frame could be decoded")
    length = _length(shown, before, decoder.repeated_until) or usual
    yield _checked(ShownFrame(start, start + length, shown), limits)


def _checked(shown: ShownFrame, limits: Limits) -> ShownFrame:
    """Return the frame; raise VideoError if it ends beyond the limit."""
    if shown.end > limits.max_seconds:
        raise VideoError("limit", f"longer than the limit of {limits.max_seconds:g} seconds")
    return shown


def _length(
    frame: "av.VideoFrame", time: Fraction | None, repeated_until: Fraction | None
) -> Fraction | None:
    """Return a frame's duration before a clock break or the end."""
    length = _seconds(frame.duration or None, frame.time_base)
    if time is None or repeated_until is None:
        return length
    return max(length or Fraction(0), repeated_until - time)


def _sound_packets(
    file: BinaryIO, container: "av.container.InputContainer", stream: "av.VideoStream"
) -> "Iterator[av.Packet]":
    """Yield packets; raise VideoError at the first gap in the data.

    A joint of two recordings, where the packet count restarts, is no gap.
    """
    sound = False
    marked: list[av.Packet] = []  # held back from the first that seems incomplete
    for packet in container.demux(stream):
        if marked:
            joined = _is_break(_seconds_between(marked[-1], packet), container) or is_joint(
                file, stream.id, marked[0].pos or 0, packet.pos or 0
            )
            if packet.is_keyframe and joined:
                yield from map(_without_mark, marked)
                marked.clear()
            elif len(marked) < MAX_MARKED:
                marked.append(packet)
                continue
            else:
                break
        if packet.is_corrupt and sound:
            marked.append(packet)
            continue
        sound |= not packet.is_corrupt
        yield packet
    if marked:
        seconds = float(_seconds(marked[0].dts, marked[0].time_base) or 0)
        raise VideoError("decode", f"bytes are missing near {seconds:.2f} s")


def _without_mark(packet: "av.Packet") -> "av.Packet":
    import av

    sound = av.Packet(bytes(packet))
    sound.pts, sound.dts, sound.duration = packet.pts, packet.dts, packet.duration
    sound.time_base = packet.time_base
    return sound


def _seconds_between(first: "av.Packet", second: "av.Packet") -> Fraction:
    start, end = _seconds(first.dts, first.time_base), _seconds(second.dts, second.time_base)
    return Fraction(0) if start is None or end is None else end - start


def _is_break(step: Fraction, container: "av.container.InputContainer") -> bool:
    """Return whether a time step means that the clock was reset.

    A step back always does. A long step ahead does in formats whose clock may restart; in others a
    picture may really be shown that long. Source: FFmpeg's ts_discontinuity_process.
    """
    return step < -MAX_STEP_BACK or (step > MAX_STEP_AHEAD and _may_reset_clock(container))


def _may_reset_clock(container: "av.container.InputContainer") -> bool:
    return bool(container.format.flags & TS_DISCONT)


def _seconds(ticks: int | None, time_base: Fraction | None) -> Fraction | None:
    return None if ticks is None or time_base is None else ticks * time_base


def cut_clips(
    frames: Iterator[ShownFrame],
    settings: ClipSettings,
    convert: "Callable[[av.VideoFrame, int], np.ndarray]",
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (number, frames (T, H, W, 3)) of each clip.

    Each frame of a clip is the one that the video shows at that time; `convert(frame, clip)` makes
    the picture. A clip for which the video is too short is left out.
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


def pixel_aspect_of(stream: "av.VideoStream", frame: "av.VideoFrame") -> float:
    """Return the aspect ratio (width / height) of a pixel after rotation."""
    aspect = float(stream.sample_aspect_ratio or 1) or 1.0
    return 1 / aspect if orientation_of(frame).transposed else aspect


def _shown_stream(container: "av.container.InputContainer") -> "av.VideoStream":
    stream = playable_stream(container)
    if stream is not None:
        return stream
    if any(stream.codec_context is None for stream in container.streams.video):
        raise VideoError("no_decoder", "no decoder for its codec is available")
    raise VideoError("no_video", "no video stream")


def _check_claimed_length(
    container: "av.container.InputContainer", stream: "av.VideoStream", limits: Limits
) -> None:
    """Raise VideoError if the header's duration exceeds the limit.

    Some formats include the time before the first frame in it, others do not.
    """
    seconds = Fraction(container.duration or 0, 1_000_000)
    start = _seconds(stream.start_time, stream.time_base) or Fraction(0)
    if 0 < start < seconds:
        seconds -= start
    if seconds > limits.max_seconds and not _may_reset_clock(container):
        message = f"{float(seconds):.0f} s, more than the limit of {limits.max_seconds:.0f} s"
        raise VideoError("limit", message)


def _refuse_to_open(url: str, flags: int, options: dict[str, str]) -> BinaryIO:
    raise VideoError("refused", f"the file tries to open {url[:100]!r}")
