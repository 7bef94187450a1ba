"""The picture of a clip: orientation, colours, size."""

from fractions import Fraction

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.videos.fitting import fit_picture
from t2vgan.data.shards import Geometry
from t2vgan.media.hdr import to_standard_range
from tests.support.filming import Film, counting, numbers_of, write_film
from tests.support.source_videos import LOSSLESS, ORIENTATIONS, clips_of, corners, quarters


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize(("rotation", "mirrored"), ORIENTATIONS)
def test_display_matrices_turn_and_mirror(tmp_path, name, rotation, mirrored):
    film = Film(rotation=rotation, mirrored=mirrored)
    path = write_film(tmp_path / name, [quarters(64, 96)] * 8, film)
    (frames,) = clips_of(path, fit="pad")
    rows, columns = (frames[0].max(axis=2) > 60).nonzero()
    bars = (32 - np.ptp(rows) - 1, 32 - np.ptp(columns) - 1)
    assert max(bars) == bars[rotation % 180 == 90] > 8 > min(bars)
    shown = frames[0][rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert corners(shown) == ORIENTATIONS[rotation, mirrored]


@pytest.mark.parametrize(
    ("tags", "height"),
    [
        ({}, 64),
        ({"colorspace": 1}, 64),  # BT.709
        ({"colorspace": 9}, 64),  # BT.2020
        ({"color_range": 2}, 64),  # full
        ({"colorspace": 1, "color_range": 2}, 64),
    ],
)
def test_colours_survive_their_tags(tmp_path, tags, height):
    colour = (200, 80, 40)
    picture = np.full((height, 64, 3), colour, np.uint8)
    film = Film("libx264", "yuv444p", options={"crf": "0"}, tags=tags)
    (frames,) = clips_of(write_film(tmp_path / "a.mkv", [picture] * 8, film))
    assert np.abs(frames.reshape(-1, 3).mean(axis=0) - colour).max() < 3


def test_untagged_high_definition_is_bt709(tmp_path):
    """Encoded by the BT.709 matrix and not tagged, as cameras do."""
    colour = (200, 80, 40)
    picture = np.full((720, 64, 3), colour, np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(
        format="yuv444p", dst_colorspace="ITU709"
    )
    planes = np.stack([np.frombuffer(p, np.uint8).reshape(720, -1)[:, :64] for p in frame.planes])
    path = tmp_path / "a.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "0"})
        stream.height, stream.width, stream.pix_fmt = 720, 64, "yuv444p"
        for i in range(8):
            bare = av.VideoFrame.from_ndarray(planes, "yuv444p")
            bare.pts, bare.time_base = i, Fraction(1, 10)
            container.mux(stream.encode(bare))
        container.mux(stream.encode(None))
    (frames,) = clips_of(path)
    assert np.abs(frames.reshape(-1, 3).mean(axis=0) - colour).max() < 3


def test_transparency_is_laid_on_black(tmp_path):
    picture = np.full((48, 64, 4), 200, np.uint8)
    picture[..., 3] = 128
    (frames,) = clips_of(write_film(tmp_path / "a.mkv", [picture] * 8, LOSSLESS))
    assert set(frames.reshape(-1).tolist()) == {100}


def test_wide_pixels_are_shown_wide(tmp_path):
    """A square of 2:1 pixels is wide: padding adds black bars."""
    white = np.full((64, 64, 3), 255, np.uint8)
    film = Film(aspect=Fraction(2))
    (frames,) = clips_of(write_film(tmp_path / "a.mp4", [white] * 8, film), fit="pad")
    bright = (frames[0, :, 16, 0] > 127).nonzero()[0]
    assert (bright.min(), bright.max()) == (8, 23)


def test_odd_sizes_are_whole(tmp_path):
    path = write_film(tmp_path / "a.mkv", counting(8, 53, 71), LOSSLESS)
    geometry = Geometry(num_frames=4, height=31, width=33)
    for storage in ("strip-webp", "strip-jpg", "mp4"):
        (frames,) = clips_of(path, geometry=geometry, storage=storage)
        assert frames.shape == (4, 31, 33, 3)
        assert numbers_of(frames) == [0, 2, 4, 6]


def test_hdr_is_brought_to_an_ordinary_screen(tmp_path):
    """PQ white paper is near white, not mid grey.

    Its signal is 0.581 (203 cd/m2).
    """
    grey = np.full((64, 64, 3), round(0.581 * 65535), np.uint16)
    tags = {"color_trc": 16, "colorspace": 9, "color_primaries": 9}
    options = {"x265-params": "log-level=none:lossless=1"}
    film = Film("libx265", "yuv444p10le", options=options, tags=tags)
    (frames,) = clips_of(write_film(tmp_path / "a.mp4", [grey] * 8, film))
    assert 240 < frames.mean() < 250
    assert np.ptp(frames.mean(axis=(0, 1, 2))) < 3, "grey stays grey"


def test_the_transfer_functions_pass_their_published_points():
    """Check points of BT.2100.

    PQ 0 is black, 1 is 10,000 cd/m2; HLG 0.5 is a twelfth of scene light.
    """
    levels = np.linspace(0, 65535, 7).astype(np.uint16)
    ramp = np.repeat(levels, 3).reshape(1, 7, 3)
    for transfer in ("SMPTE2084", "ARIB_STD_B67"):
        shown = to_standard_range(ramp, transfer)
        assert (shown[0, 0] == 0).all()
        assert (shown[0, -1] >= 250).all()
        assert (np.diff(shown[0, :, 0].astype(int)) >= 0).all(), "brighter stays brighter"
    hlg_half = to_standard_range(np.full((1, 1, 3), 32768, np.uint16), "ARIB_STD_B67")
    # scene 1/12, luminance gamma 1.2: 1000 * (1/12)**1.2 = 50.7 cd/m2, a quarter of paper white
    assert abs(int(hlg_half[0, 0, 0]) - round(255 * (1.055 * 0.2497 ** (1 / 2.4) - 0.055))) <= 1


def test_area_resampling_is_the_mean_of_the_area():
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    square = Geometry(num_frames=1, height=16, width=24)
    expected = picture.reshape(16, 4, 24, 4, 3).mean(axis=(1, 3))
    assert np.abs(fit_picture(picture, square, "crop") - expected).max() <= 0.5


@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40),
    st.sampled_from(["crop", "random-crop", "pad"]), st.floats(0.2, 5), st.floats(0, 1),
)  # fmt: skip
def test_any_picture_fits_any_size(height, width, out_height, out_width, fit, aspect, place):
    picture = np.full((height, width, 3), 255, np.uint8)
    geometry = Geometry(num_frames=1, height=out_height, width=out_width)
    fitted = fit_picture(picture, geometry, fit, pixel_aspect=aspect, place=(place, 1 - place))
    assert fitted.shape == (out_height, out_width, 3)
    assert fitted.max() == 255
    if fit != "pad":
        assert fitted.min() == 255, "a crop shows nothing but the picture"


def test_random_crops_differ_from_row_to_row_and_never_from_run_to_run(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 200).astype(np.uint8)[None, :, None], (32, 1, 3))
    path = write_film(tmp_path / "a.mkv", [ramp] * 24, LOSSLESS)
    first, second = clips_of(path, fit="random-crop", clips_per_video=2)
    assert np.abs(first.astype(int).mean() - second.mean()) > 5
    assert np.ptp(first.reshape(4, -1).mean(axis=1)) < 1, "all frames of a clip at one place"
    again, _ = clips_of(path, fit="random-crop", clips_per_video=2)
    assert (again == first).all()
