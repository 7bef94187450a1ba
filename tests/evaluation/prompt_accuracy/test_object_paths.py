"""Where the object is, and the arithmetic on its path."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.scenes import circles
from t2vgan.data.shards import Geometry
from t2vgan.evaluation.prompt_accuracy.motion import bridge_gaps, count_turns, fit_line
from t2vgan.evaluation.prompt_accuracy.object_paths import concat_tracks, track
from tests.support.painting import paint


def test_a_track_says_where_how_large_and_what_colour():
    x, y = 12.25 + 4 * np.arange(10), 40.5 - 3 * np.arange(10)
    seen = track(paint(x, y, 6.0, colour=(200, 30, 90))[None])
    assert np.abs(seen.x[0] - x).max() < 0.2
    assert np.abs(seen.y[0] - y).max() < 0.2
    assert np.abs(seen.area / (np.pi * 36) - 1).max() < 0.05
    assert (seen.colour == [200, 30, 90]).all()
    assert (seen.num_objects == 1).all()
    assert seen.cut[0].tolist() == [False] * 10
    assert (seen.height, seen.width, seen.unit) == (64, 64, 64)


def test_gaps_specks_and_edges():
    clip = paint(np.full(4, 20.0), 30)
    clip[1] = 255
    clip[2, 50:52, 50:52] = 0  # 4 pixels, less than 0.2 % of 64 * 64
    clip[3, 50:54, 50:54] = 0
    seen = track(np.stack([clip, paint(np.full(4, 2.0), 30)]))
    assert seen.num_objects[0].tolist() == [1, 0, 1, 2]
    assert np.isnan(seen.x[0]).tolist() == [False, True, False, False]
    assert seen.x[0, [0, 2, 3]].tolist() == [20, 20, 20], "the largest object is the one followed"
    assert seen.cut.tolist() == [[False] * 4, [True] * 4]


def test_a_slice_of_an_object_at_the_edge_is_one_object():
    assert track(paint([-4], 32, 6.0)[None]).num_objects == [[1]]
    slice_inside = np.full((1, 1, 64, 64, 3), 255, np.uint8)
    slice_inside[0, 0, 28:37, 30:32] = 0
    assert track(slice_inside).num_objects == [[2]], "not cut off, it is no compact object"


def test_frames_are_kept_apart():
    """Objects at a frame's bottom and the next one's top stay apart."""
    clip = paint([32, 32], [62, 1])
    assert track(clip[None]).num_objects.tolist() == [[1, 1]]


def test_a_wide_clip_is_seen_as_its_padded_square():
    square = paint([30, 32], [20, 24], 6.0, colour=(200, 30, 90))[None]
    wide, square = track(square[:, :, :48]), track(square)
    for name in ("x", "y", "area", "colour", "centre", "coverage", "core_colour", "outline"):
        np.testing.assert_array_equal(getattr(wide, name), getattr(square, name))


def test_clips_do_not_depend_on_their_neighbours():
    geometry = Geometry(num_frames=10, height=64, width=64)
    frames = circles.render_clips(range(40), 2, geometry).frames
    together = track(frames)
    apart = concat_tracks([track(frames[i : i + 1]) for i in range(40)])
    for name in ("x", "y", "area", "colour", "num_objects", "cut", "flicker"):
        np.testing.assert_array_equal(getattr(together, name), getattr(apart, name))


def test_flicker_is_the_mean_change_of_the_background():
    still = paint(np.full(10, 30), 30, background=250)
    restless = still.copy()
    restless[::2] -= np.uint8(still[::2] == 250) * 4
    assert track(np.stack([still, restless])).flicker.tolist() == pytest.approx([0, 4])


# --- arithmetic ---------------------------------------------------------------------------------

gappy = st.lists(st.none() | st.floats(-9, 9), min_size=1, max_size=12)


@given(gappy)
def test_gaps_are_bridged_as_numpy_interpolates(row):
    valid = np.array([value is not None for value in row])
    values = np.array([np.nan if value is None else value for value in row])
    bridged = bridge_gaps(values[None], valid[None])[0]
    index = np.arange(len(row))
    expected = np.interp(index, index[valid], values[valid]) if valid.any() else 0 * index
    np.testing.assert_allclose(bridged, expected, atol=1e-9)


@given(gappy)
def test_lines_are_fitted_as_numpy_fits_them(row):
    valid = np.array([value is not None for value in row])
    values = np.array([np.nan if value is None else value for value in row])
    change, error, correlation = (part[0] for part in fit_line(values[None], valid[None]))
    if valid.sum() < 2:
        assert (change, error, correlation) == (0, 0, 0)
        return
    time, known = np.linspace(0, 1, len(row))[valid], values[valid]
    slope, start = np.polyfit(time, known, 1)
    assert change == pytest.approx(slope, abs=1e-6)
    assert error == pytest.approx(np.sqrt(np.mean((start + slope * time - known) ** 2)), abs=1e-6)
    if known.std() > 1e-6:
        assert correlation == pytest.approx(np.corrcoef(time, known)[0, 1], abs=1e-6)


@pytest.mark.parametrize(
    ("path", "turns"),
    [
        ([0, 1, 2, 3], 0),
        ([3, 2, 1, 0], 0),
        ([0, 2, 0], 1),
        ([0, 2, 1.8, 3, 2.9, 4], 0),
        ([0, 2, 0, 2, 0], 3),
        ([0, -2, 0, 2, -5, -5, -5], 2),
        ([0, 0.3, 0, 0.3, 0, 0.3], 0),
        ([5], 0),
    ],
)
def test_turns_are_counted_beyond_the_wobble(path, turns):
    assert count_turns(np.array([path, path]), 0.5).tolist() == [turns, turns]
