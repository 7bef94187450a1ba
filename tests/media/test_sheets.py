"""Film strips and contact sheets."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from t2vgan.errors import UserError
from t2vgan.media import (
    contact_sheet,
    film_strips,
    split_film_strips,
)
from t2vgan.media.sheets import wrap
from tests.support.drawn_clips import noise


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(1, 7))
def test_film_strips_come_back(num_clips, num_frames, height, width):
    count = num_clips * num_frames * height * width * 3
    clips = (np.arange(count) % 251).astype(np.uint8)
    clips = clips.reshape(num_clips, num_frames, height, width, 3)
    strips = film_strips(clips)
    assert strips.shape == (num_clips * height, num_frames * width, 3)
    np.testing.assert_array_equal(strips[:height, :width], clips[0, 0])
    np.testing.assert_array_equal(strips[-height:, -width:], clips[-1, -1])
    back = split_film_strips(strips, num_frames=num_frames, height=height, width=width)
    np.testing.assert_array_equal(back, clips)


def test_split_refuses_a_picture_of_another_size():
    with pytest.raises(ValueError, match="does not hold rows of 2 frames of 4x3"):
        split_film_strips(np.zeros((6, 9, 3), np.uint8), num_frames=2, height=3, width=4)


def find(sheet, clip):
    """Return every (top, left) where a clip's pixels stand on a sheet."""
    height, width = clip.shape[1:3]
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (height, width), axis=(1, 2))
    equal = (windows == np.moveaxis(clip, 3, 1)[:, None, None]).all(axis=(0, 3, 4, 5))
    return [tuple(place) for place in np.argwhere(equal).tolist()]


@pytest.mark.parametrize("scale", [1, 2])
def test_contact_sheet_places_clips_in_reading_order_on_an_even_grid(scale):
    clips = np.stack([noise(3, 8, 6, seed) for seed in range(5)])
    sheet = contact_sheet(clips, list("abcde"), columns=3, scale=scale)
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] == 3
    assert sheet.shape[1] % 2 == sheet.shape[2] % 2 == 0
    enlarged = clips.repeat(scale, axis=2).repeat(scale, axis=3)
    places = [find(sheet, clip) for clip in enlarged]
    assert [len(place) for place in places] == [1] * 5
    tops, lefts = np.array([place[0] for place in places]).T
    assert tops[0] == tops[1] == tops[2] < tops[3] == tops[4]
    assert lefts[0] == lefts[3]
    assert lefts[1] == lefts[4]
    assert lefts[1] - lefts[0] == lefts[2] - lefts[1] > 6 * scale


def test_contact_sheet_writes_each_label_under_its_clip():
    clips = np.full((2, 1, 64, 64, 3), 255, np.uint8)
    blank = contact_sheet(clips, ["", " "], columns=2)
    left = contact_sheet(clips, ["circle shrinking", ""], columns=2)
    right = contact_sheet(clips, ["", "circle shrinking"], columns=2)
    middle = left.shape[2] // 2
    assert (left[0] < 100).all(axis=-1)[:, :middle].sum() > 50  # ink
    assert (left[0] < 100).all(axis=-1)[:, middle:].sum() == 0
    assert (right[0] < 100).all(axis=-1)[:, middle:].sum() > 50
    assert (blank < 100).all(axis=-1).sum() == 0


def test_a_long_label_stays_in_its_cell():
    clips = np.full((3, 1, 40, 40, 3), 255, np.uint8)
    long = "word " * 40 + "supercalifragilisticexpialidocious" * 4
    sheet = contact_sheet(clips, ["", long, ""], columns=3)
    columns = np.flatnonzero((sheet[0] < 120).all(axis=-1).any(axis=0))
    third = sheet.shape[2] / 3
    assert third - 6 < columns.min() < columns.max() < 2 * third + 6
    assert contact_sheet(clips, ["", "a b c", ""], columns=3).shape[1] < 110


@pytest.mark.parametrize(("columns", "scale"), [(0, 1), (-1, 1), (2, 0)])
def test_contact_sheet_refuses_sizes_without_sense(columns, scale):
    with pytest.raises(UserError, match="must all be above 0"):
        contact_sheet(np.zeros((1, 1, 4, 4, 3), np.uint8), ["a"], columns=columns, scale=scale)


def test_contact_sheet_refuses_missing_labels():
    with pytest.raises(ValueError, match="1 labels for 2 clips"):
        contact_sheet(np.zeros((2, 1, 4, 4, 3), np.uint8), ["a"], columns=1)


def test_a_long_label_is_cut_in_a_few_looks():
    looks = []

    def length(text: str) -> float:
        looks.append(text)
        return len(text)

    lines = wrap("circle moving up-right " * 70, 12, length)
    assert lines == ["circle", "moving", "up-right ci…"]
    assert len(looks) <= 3 * 210, "a few for each word"
