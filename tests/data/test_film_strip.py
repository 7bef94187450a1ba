"""Test that film strips are lossless, and that damaged ones are refused."""

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from t2vgan.data.shards import (
    Geometry,
    decode_strip,
    encode_strip,
)
from tests.support.shards import GEOMETRY, noise


@st.composite
def flat_images(draw: st.DrawFn) -> np.ndarray:
    """Draw images of random runs of random colours.

    From one pixel to many long runs.
    """
    height, width = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    palette = random.integers(0, 256, (draw(st.integers(1, 300)), 3), dtype=np.uint8)
    longest = draw(st.sampled_from([1, 2, 3, 9, 40, 500]))
    indexes = random.integers(0, len(palette), height * width)
    runs = random.integers(1, longest + 1, height * width)
    return palette[indexes].repeat(runs, axis=0)[: height * width].reshape(height, width, 3)


@given(flat_images())
@settings(max_examples=100, deadline=None)
def test_flat_images_decode_to_the_same_pixels_in_two_decoders(image):
    data = encode_strip(image[np.newaxis])
    np.testing.assert_array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), 1)[..., ::-1], image)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")), image)


@given(
    num_frames=st.integers(1, 6),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    num_values=st.sampled_from([1, 2, 256]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=50, deadline=None)
def test_strips_are_lossless(num_frames, height, width, num_values, seed):
    geometry = Geometry(num_frames=num_frames, height=height, width=width)
    frames = noise(geometry, seed) & np.uint8(num_values - 1)
    data = encode_strip(frames)
    assert data[:4] == b"RIFF"
    assert data[8:12] == b"WEBP"
    np.testing.assert_array_equal(decode_strip(data, geometry), frames)
    batch = np.zeros((3, *geometry.shape), np.uint8)
    assert np.shares_memory(decode_strip(data, geometry, out=batch[1]), batch)
    np.testing.assert_array_equal(batch, np.stack([0 * frames, frames, 0 * frames]))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_strips_of_other_formats_are_read_right_side_up_with_right_colours(suffix):
    geometry = Geometry(num_frames=2, height=16, width=24)
    frames = np.zeros((2, 16, 24, 3), np.uint8)
    frames[0, :8] = (0, 0, 255)
    frames[1, :, :12] = (255, 128, 0)
    data = cv2.imencode(suffix, frames.reshape(32, 24, 3)[..., ::-1])[1].tobytes()
    decoded = decode_strip(data, geometry)
    assert np.abs(decoded.astype(int) - frames).mean() < (0.01 if suffix == ".png" else 12)


@pytest.mark.parametrize(
    ("height", "width"), [(4, 7), (5, 8), (50, 7)], ids=["fewer", "wider", "longer"]
)
def test_strip_of_another_geometry_is_refused(height, width):
    other = noise(Geometry(num_frames=3, height=height, width=width))
    with pytest.raises(ValueError, match=r"strip is \d+x\d+ pixels, expected 7x15"):
        decode_strip(encode_strip(other), GEOMETRY)


def claim_huge(data: bytes) -> bytes:
    """Return a strip whose header claims its format's largest size."""
    if data[:4] == b"RIFF":
        return data[:21] + struct.pack("<I", 0x0FFFFFFF) + data[25:]
    if data[:4] == b"\x89PNG":
        return data[:16] + struct.pack(">II", 2**31 - 1, 2**31 - 1) + data[24:]
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + b"\xff\xff\xff\xff" + data[place + 4 :]


@pytest.mark.parametrize("suffix", [".webp", ".png", ".jpg"])
def test_a_claimed_huge_size_is_refused_before_decoding(suffix, monkeypatch):
    strip = noise().reshape(15, 7, 3)
    flags = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []
    data = claim_huge(cv2.imencode(suffix, strip, flags)[1].tobytes())
    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("decoded a bomb"))
    with pytest.raises(ValueError, match="expected 7x15"):
        decode_strip(data, GEOMETRY)


@given(cut=st.integers(0, 400), flip=st.integers(0, 400 * 8))
@settings(max_examples=200, deadline=None)
def test_damaged_strips_raise_value_error_or_decode_to_the_geometry(cut, flip):
    data = bytearray(encode_strip(noise()))
    flip %= len(data) * 8
    data[flip // 8] ^= 1 << flip % 8
    try:
        frames = decode_strip(bytes(data[: max(cut, 1)]), GEOMETRY)
    except ValueError:
        return
    assert frames.shape == (3, 5, 7, 3)


@pytest.mark.parametrize(
    "frames", [np.zeros((2, 3, 4, 1), np.uint8), np.zeros((2, 3, 4, 3), np.float32)]
)
def test_frames_of_another_type_are_refused(frames):
    with pytest.raises(ValueError, match=r"\(T, H, W, 3\) uint8"):
        encode_strip(frames)


def test_a_strip_too_long_for_webp_is_refused():
    with pytest.raises(ValueError, match="16383"):
        encode_strip(np.zeros((40, 512, 8, 3), np.uint8))
