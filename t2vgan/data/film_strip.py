"""Encode clips as film strips: frames stacked in one image.

The image has shape (T*H, W, 3), the first frame on top.
"""

import io
import struct

import numpy as np

from t2vgan.data.manifest import Geometry

EXTENSIONS = ("webp", "png", "jpg", "jpeg")
MAX_WEBP_SIDE = 16383
MAX_JPEG_SIDE = 65500  # limit of the library; the format allows 65535

# Chosen in benchmarks/results/2026-11-24-build_throughput-cpu.json: method 0 takes a third of the
# time of the others; with full effort (`quality`) it takes a third of the bytes that it takes with
# none.
WEBP_OPTIONS = {"lossless": True, "method": 0, "quality": 100}


def encode_strip(frames: np.ndarray) -> bytes:
    """Encode frames (T, H, W, 3) uint8 RGB as lossless WebP."""
    from PIL import Image

    strip = Image.fromarray(_stack(frames, "WebP", MAX_WEBP_SIDE))
    buffer = io.BytesIO()
    strip.save(buffer, "WEBP", **WEBP_OPTIONS)
    return buffer.getvalue()


def encode_jpeg_strip(frames: np.ndarray, quality: int) -> bytes:
    """Encode frames (T, H, W, 3) uint8 RGB as JPEG.

    Chroma is not subsampled.
    """
    import cv2

    strip = cv2.cvtColor(_stack(frames, "JPEG", MAX_JPEG_SIDE), cv2.COLOR_RGB2BGR)
    full_colour = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, full_colour]
    encoded, data = cv2.imencode(".jpg", strip, options)
    assert encoded
    return data.tobytes()


def decode_strip(data: bytes, geometry: Geometry, *, out: np.ndarray | None = None) -> np.ndarray:
    """Decode a WebP, PNG or JPEG film strip.

    Returns frames (T, H, W, 3) uint8 RGB. They are written to `out` if given (contiguous and of
    that shape, such as a clip's place in a batch), which saves a copy. The size in the file's
    header is checked before decoding, so that a small file cannot claim a huge image. Raises
    ValueError with the reason.
    """
    import cv2

    expected = (geometry.width, geometry.num_frames * geometry.height)
    size = image_size(data)
    if size != expected:
        raise ValueError("strip is {}x{} pixels, expected {}x{}".format(*size, *expected))
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if image is None or image.shape[1::-1] != expected:
        raise ValueError("strip cannot be decoded")
    assert out is None or out.flags.c_contiguous  # else reshaping would copy
    strip = image if out is None else out.reshape(image.shape)
    cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=strip)
    return strip.reshape(geometry.num_frames, geometry.height, geometry.width, 3)


def _stack(frames: np.ndarray, format: str, max_side: int) -> np.ndarray:
    num_frames, height, width, channels = frames.shape
    if channels != 3 or frames.dtype != np.uint8:
        raise ValueError(f"frames must be (T, H, W, 3) uint8, got {frames.shape} {frames.dtype}")
    if max(num_frames * height, width) > max_side:
        raise ValueError(
            f"a strip of {num_frames} * {height} rows and {width} columns does not fit {format}, "
            f"which holds at most {max_side} of each"
        )
    return frames.reshape(num_frames * height, width, channels)


def image_size(data: bytes) -> tuple[int, int]:
    """Return (width, height) from a WebP, PNG or JPEG file's header.

    Raises ValueError if the data are no such image.
    """
    try:
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return _webp_size(data)
        if data[:8] == b"\x89PNG\r\n\x1a\n" and data[12:16] == b"IHDR":
            return struct.unpack_from(">II", data, 16)
        if data[:2] == b"\xff\xd8":
            return _jpeg_size(data)
    except (struct.error, IndexError):
        raise ValueError("strip is cut off inside its header") from None
    raise ValueError("strip is not a WebP, PNG or JPEG image")


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        return width, int.from_bytes(data[27:30], "little") + 1
    raise ValueError("strip is not a still WebP image")


def _jpeg_size(data: bytes) -> tuple[int, int]:
    position = 2
    while True:
        marker, length = struct.unpack_from(">HH", data, position)
        if marker < 0xFF01:
            raise ValueError("strip has a damaged JPEG header")
        if 0xFFC0 <= marker <= 0xFFCF and marker not in (0xFFC4, 0xFFC8, 0xFFCC):
            height, width = struct.unpack_from(">HH", data, position + 5)
            return width, height
        position += 2 + length
