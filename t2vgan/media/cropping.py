"""Read which part of its pictures a container declares as visible.

PyAV has no access to this FFmpeg side data (Matroska's PixelCrop, the clean aperture of MP4 and
MOV). FFmpeg's Matroska muxer writes it for every kind of container, so it is read from the header
of a Matroska file without pictures, written to memory. Source: RFC 9559 (Matroska).
"""

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import av

PARENTS = {b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae", b"\xe0"}
"""Segment, Tracks, TrackEntry and Video."""
SIDES = {b"\x54\xbb": "top", b"\x54\xaa": "bottom", b"\x54\xcc": "left", b"\x54\xdd": "right"}


class Cropping(NamedTuple):
    """Rows and columns of a stored picture that are not shown."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """Return the visible part of a picture (H, W, C).

        Cropping that would leave nothing is ignored.
        """
        height, width = picture.shape[:2]
        shown = picture[self.top : height - self.bottom, self.left : width - self.right]
        return shown if shown.size else picture


def read_cropping(stream: "av.VideoStream") -> Cropping:
    """Return the cropping of a container's stream."""
    import av

    header = io.BytesIO()
    try:
        with av.open(header, "w", format="matroska") as container:
            container.add_stream_from_template(stream)
            container.start_encoding()
            data = header.getvalue()
    except (av.FFmpegError, ValueError):  # a codec that Matroska does not support
        return Cropping()
    found = {SIDES[name]: value for name, value in _elements(data) if name in SIDES}
    return Cropping(**{side: int.from_bytes(value) for side, value in found.items()})


def _elements(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield EBML elements as (identifier, contents), including those in PARENTS."""
    place = 0
    while place < len(data):
        length = _length(data[place])
        name, place = data[place : place + length], place + length
        length = _length(data[place])
        size = int.from_bytes(data[place : place + length]) - (1 << 7 * length)
        unknown = (1 << 7 * length) - 1  # in a file that is still being written
        place += length
        end = len(data) if size == unknown else place + size
        if name in PARENTS:
            yield from _elements(data[place:end])
        else:
            yield name, data[place:end]
        place = end


def _length(first: int) -> int:
    """Return the length of a number, given its first byte."""
    return 9 - first.bit_length()
