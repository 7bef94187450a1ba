"""Write GIF and animated WebP frame by frame.

Pillow's own writers do not keep all frames: save_all merges equal neighbours into one long frame,
and turns a clip without motion into a still picture without a duration. For WebP no option prevents
this (libwebp's WebPAnimEncoder does it), so a clip of T frames would not be read back as T frames.
Here Pillow compresses the pictures, and this module writes the containers around them: a few bytes
each, and always the same. Sources: the GIF89a specification; RFC 9649 (WebP container).
"""

import io
import struct
from itertools import pairwise

import numpy as np

LOOP_FOREVER = 0
EXACT_COLOURS = 32  # of the 256 in a full GIF palette: the most frequent colours, kept exactly
SHORTEST_GIF_DELAY = 2  # centiseconds; players replace 0 and 1 by 10
MAX_GIF_FPS = 100 // SHORTEST_GIF_DELAY


def encode_gif(frames: np.ndarray, *, fps: float) -> bytes:
    """Return a GIF that loops forever.

    frames: (T, H, W, 3) uint8. Clips of at most 256 colours are kept exactly. With more colours,
    the 32 most frequent ones (a plain background, a plain object) stay exact and others are mapped
    to the nearest. GIF delays are at least 2 whole centiseconds, so faster clips play at 50 frames
    per second.
    """
    from PIL import GifImagePlugin, Image

    palette, indexed = build_palette(frames)
    height, width = indexed.shape[1:]
    loop = b"\x21\xff\x0bNETSCAPE2.0" + struct.pack("<BBHB", 3, 1, LOOP_FOREVER, 0)
    chunks = [b"GIF89a", struct.pack("<HHBBB", width, height, 0xF7, 0, 0), palette.tobytes(), loop]
    boxes = find_changed_boxes(indexed)
    delays = compute_delays(len(frames), fps=fps, unit=100)
    for picture, (left, top, right, bottom), delay in zip(indexed, boxes, delays, strict=True):
        part = Image.fromarray(np.ascontiguousarray(picture[top:bottom, left:right]))
        milliseconds = 10 * max(delay, SHORTEST_GIF_DELAY)
        chunks += GifImagePlugin.getdata(part, (left, top), duration=milliseconds)
    return b"".join([*chunks, b";"])


def encode_webp(frames: np.ndarray, *, fps: float) -> bytes:
    """Return a lossless animated WebP that loops forever.

    frames: (T, H, W, 3) uint8.
    """
    height, width = frames.shape[1:3]
    canvas = encode_uint24(width - 1) + encode_uint24(height - 1)
    animation_flag = b"\x02\0\0\0"
    white = b"\xff\xff\xff\xff"
    chunks = [
        encode_riff_chunk(b"VP8X", animation_flag + canvas),
        encode_riff_chunk(b"ANIM", white + struct.pack("<H", LOOP_FOREVER)),
    ]
    boxes = find_changed_boxes(frames)
    delays = compute_delays(len(frames), fps=fps, unit=1000)
    for picture, (left, top, right, bottom), delay in zip(frames, boxes, delays, strict=True):
        place = encode_uint24(left // 2) + encode_uint24(top // 2)
        size = encode_uint24(right - left - 1) + encode_uint24(bottom - top - 1)
        no_blending = b"\x02"
        header = place + size + encode_uint24(max(delay, 1)) + no_blending
        bitstream = encode_webp_picture(picture[top:bottom, left:right])
        chunks.append(encode_riff_chunk(b"ANMF", header + bitstream))
    return encode_riff_chunk(b"RIFF", b"WEBP" + b"".join(chunks))


def encode_webp_picture(picture: np.ndarray) -> bytes:
    """Return the lossless VP8L chunk of one picture, (H, W, 3) uint8."""
    from PIL import Image

    still = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(still, "WEBP", lossless=True, exact=True)
    riff_header_length = 12
    return still.getvalue()[riff_header_length:]


def encode_riff_chunk(name: bytes, data: bytes) -> bytes:
    """Return a RIFF chunk: name, length, data, padded to an even length."""
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def encode_uint24(value: int) -> bytes:
    """Return three little-endian bytes."""
    return value.to_bytes(3, "little")


def compute_delays(num_frames: int, *, fps: float, unit: int) -> list[int]:
    """Return each frame's duration in 1/unit seconds; rounding never accumulates."""
    ends = [round(index * unit / fps) for index in range(num_frames + 1)]
    return [end - start for start, end in pairwise(ends)]


def find_changed_boxes(pictures: np.ndarray) -> list[tuple[int, int, int, int]]:
    """Return the box in which each picture differs from the previous one.

    pictures: (T, H, W) or (T, H, W, C). Boxes are (left, top, right, bottom); the first is the
    whole picture. Left and top are even, as WebP requires; a picture without changes still gets a
    box of one pixel, so that it stays a frame.
    """
    height, width = pictures.shape[1:3]
    boxes = [(0, 0, width, height)]
    for previous, current in pairwise(pictures):
        changed = (previous != current).reshape(height, width, -1).any(axis=2)
        rows = np.flatnonzero(changed.any(axis=1))
        columns = np.flatnonzero(changed.any(axis=0))
        if len(rows) == 0:
            boxes.append((0, 0, 1, 1))
            continue
        left, top = int(columns[0]) // 2 * 2, int(rows[0]) // 2 * 2
        boxes.append((left, top, int(columns[-1]) + 1, int(rows[-1]) + 1))
    return boxes


def build_palette(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return one palette for a clip, and its frames as indexes.

    The palette is (256, 3), the indexes (T, H, W), both uint8. All frames share one palette,
    without dithering, so that a still background does not flicker.
    """
    codes = frames.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    colours, inverse, counts = np.unique(codes, return_inverse=True, return_counts=True)
    inverse = inverse.reshape(codes.shape)
    if len(colours) <= 256:
        return rgb_palette(colours), inverse.astype(np.uint8)

    exact = np.argsort(counts, kind="stable")[::-1][:EXACT_COLOURS]
    palette, indexed = quantize_frames(frames, num_colours=256 - EXACT_COLOURS)
    palette[256 - EXACT_COLOURS :] = rgb_palette(colours[exact])[:EXACT_COLOURS]
    index_of_exact = np.full(len(colours), -1)
    index_of_exact[exact] = np.arange(256 - EXACT_COLOURS, 256)
    exact_index = index_of_exact[inverse]
    return palette, np.where(exact_index >= 0, exact_index, indexed).astype(np.uint8)


def quantize_frames(frames: np.ndarray, *, num_colours: int) -> tuple[np.ndarray, np.ndarray]:
    """Return an octree's palette and the frames as indexes into it.

    The palette is (256, 3), of which `num_colours` are used. A median cut would spend its colours
    on nearly equal whites, and small objects would share colours.
    """
    from PIL import Image

    pixels = Image.fromarray(frames.reshape(-1, frames.shape[2], 3))
    quantized = pixels.quantize(
        num_colours, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE
    )
    chosen = np.array(quantized.getpalette(), dtype=np.uint8).reshape(-1, 3)[:num_colours]
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: len(chosen)] = chosen
    return palette, np.asarray(quantized).reshape(frames.shape[:3])


def rgb_palette(codes: np.ndarray) -> np.ndarray:
    """Return a palette (256, 3) uint8 of 0xRRGGBB codes, zero-padded."""
    palette = np.zeros((256, 3), dtype=np.uint8)
    palette[: len(codes)] = np.stack([codes >> 16, codes >> 8, codes], axis=1) & 0xFF
    return palette
