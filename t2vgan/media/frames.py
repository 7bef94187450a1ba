"""Turn decoded frames into pictures as players show them.

Colours follow their tags, transparent pixels are laid on black, the container's cropping is
applied, and so is the rotation or mirroring of the container's or codec's display matrix. Source:
ISO/IEC 14496-12, 6.2.2; FFmpeg's `libavutil/display.h` describes the matrix.
"""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from t2vgan.media.cropping import Cropping
from t2vgan.media.hdr import TRANSFERS, to_standard_range

if TYPE_CHECKING:
    import av

UNTAGGED = 2  # AVCOL_SPC_UNSPECIFIED
HD_HEIGHT = 720  # from this height on, players assume that untagged colours are BT.709
THEORA_COMMENT = b"\x81"  # the only header that FFmpeg's decoder rejects between frames
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # FFmpeg's own ignore the alpha picture


class Orientation(NamedTuple):
    """How a stored picture is shown: first transposed, then mirrored."""

    transposed: bool = False
    mirrored: bool = False
    """Left and right are exchanged."""
    upside_down: bool = False

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """Return a stored picture (H, W, C) as it is shown."""
        if self.transposed:
            picture = picture.transpose(1, 0, 2)
        return picture[:: -1 if self.upside_down else 1, :: -1 if self.mirrored else 1]


def orientation_of(frame: "av.VideoFrame") -> Orientation:
    """Return the orientation closest to a frame's display matrix."""
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return Orientation()
    # right = a * column + c * row, down = b * column + d * row, in 16.16 fixed point
    a, b, _, c, d, *_ = np.frombuffer(bytes(data), np.int32)[:9].tolist()
    if a * d == b * c:  # singular, shows a line or a point: players ignore it
        return Orientation()
    if abs(b) + abs(c) > abs(a) + abs(d):
        return Orientation(transposed=True, mirrored=c < 0, upside_down=b < 0)
    return Orientation(mirrored=a < 0, upside_down=d < 0)


def picture_of(frame: "av.VideoFrame", cropping: Cropping) -> np.ndarray:
    """Return a frame as shown, (H, W, 3): uint8 RGB, HDR uint16."""
    if any(part.is_alpha for part in frame.format.components) or frame.format.name == "pal8":
        picture = lay_on_black(_convert(frame, "rgba"))
    elif transfer_of(frame) in TRANSFERS:
        picture = _convert(frame, "rgb48le")
    else:
        picture = _convert(frame, "rgb24")
    return orientation_of(frame).apply(cropping.apply(picture))


def lay_on_black(picture: np.ndarray) -> np.ndarray:
    """Return an RGBA picture (H, W, 4) as RGB, all uint8."""
    return (picture[..., :3] * (picture[..., 3:] / np.float32(255)) + 0.5).astype(np.uint8)


def rgb_of(frame: "av.VideoFrame", cropping: Cropping) -> np.ndarray:
    """Return a frame in standard dynamic range, (H, W, 3) uint8."""
    picture = picture_of(frame, cropping)
    return picture if picture.dtype == np.uint8 else to_standard_range(picture, transfer_of(frame))


def transfer_of(frame: "av.VideoFrame") -> str:
    """Return the name of a frame's transfer function."""
    import av

    try:
        return av.video.reformatter.ColorTrc(frame.color_trc).name
    except ValueError:
        return "UNSPECIFIED"


def playable_stream(container: "av.container.InputContainer") -> "av.VideoStream | None":
    """Return the video stream that players show, if any.

    Cover pictures and streams that cannot be decoded do not count.
    """
    from av.stream import Disposition

    streams = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic and stream.codec_context is not None
    ]
    best = container.streams.best("video")
    return best if best in streams else next(iter(streams), None)


class FrameDecoder:
    """Decode a stream, with the transparency of VP8 and VP9."""

    def __init__(self, stream: "av.VideoStream"):
        self._context = _alpha_decoder(stream) or stream.codec_context
        self.repeated_until: Fraction | None = None
        """End, in seconds, of packets that repeat the frame before the one just yielded."""

    def frames(self, packets: "Iterable[av.Packet]") -> "Iterator[av.VideoFrame]":
        """Yield the frames of packets, the last of which ends the stream.

        A packet without bytes (Theora, AVI) repeats the previous picture.
        """
        for packet in packets:
            if packet.buffer_ptr and not packet.size:
                end = None if packet.pts is None else packet.pts + (packet.duration or 0)
                self.repeated_until = end * packet.time_base if end and packet.time_base else None
            elif not self._is_comment(packet):
                for frame in self._context.decode(packet):
                    yield frame
                    self.repeated_until = None

    def _is_comment(self, packet: "av.Packet") -> bool:
        """Return whether a packet is the comment header of Theora."""
        return self._context.name == "theora" and memoryview(packet)[:1] == THEORA_COMMENT


def _alpha_decoder(stream: "av.VideoStream") -> "av.VideoCodecContext | None":
    """Return a decoder for transparency that is stored beside the picture."""
    import av

    context = stream.codec_context
    name = ALPHA_DECODERS.get(context.codec.canonical_name)
    if stream.metadata.get("alpha_mode") != "1" or name not in av.codecs_available:
        return None
    decoder = av.CodecContext.create(name, "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count, decoder.options = 1, context.options
    return decoder


def _convert(frame: "av.VideoFrame", format: str) -> np.ndarray:
    """Convert pixels by the tagged colour matrix, or the usual one."""
    matrix: int | str = frame.colorspace
    if matrix == UNTAGGED:
        matrix = "ITU709" if frame.height >= HD_HEIGHT else "ITU601"
    return frame.to_ndarray(
        format=format,
        src_colorspace=matrix,
        src_color_range=frame.color_range or None,
        dst_color_range="JPEG",
        threads=1,  # otherwise one per core, and their stacks count towards memory limits
    )
