"""How much and how evenly pixels change: closed forms."""

import numpy as np
import pytest

from t2vgan.evaluation.distribution.motion_energy import (
    coefficient_of_variation,
    measure_motion,
    path_speed_variation,
)
from t2vgan.evaluation.prompt_accuracy.object_paths import track
from tests.support.painting import TIME, paint


def levels(*values):
    """A clip whose frames are grey, one level each."""
    return np.array(values, np.uint8)[:, None, None, None] * np.ones((8, 8, 3), np.uint8)


def test_energy_is_the_mean_change_and_variation_its_unevenness():
    clips = np.stack([levels(0, 10, 20, 30), levels(0, 0, 30, 30), levels(9, 9, 9, 9)])
    energy, variation = measure_motion(clips).T
    assert energy.tolist() == [10, 10, 0]
    assert variation[:2] == pytest.approx([0, np.std([0, 30, 0]) / 10])
    assert np.isnan(variation[2]), "a clip at rest has no speed that could vary"
    assert measure_motion(clips[:, ::-1])[:, 0].tolist() == [10, 10, 0], "no wrap-around of uint8"


def test_one_frame_does_not_move():
    energy, variation = measure_motion(levels(7)[None])[0]
    assert energy == 0
    assert np.isnan(variation)


def test_variation_has_no_unit():
    speeds = np.array([[1.0, 2.0, 3.0]])
    assert coefficient_of_variation(7 * speeds) == pytest.approx(coefficient_of_variation(speeds))
    assert coefficient_of_variation(speeds)[0] == pytest.approx(np.sqrt(2 / 3) / 2)


def test_the_path_of_an_object_says_how_even_its_motion_is():
    stops = np.repeat(TIME[::3], 3)[:10]
    clips = np.stack([paint(10 + 40 * t, 30) for t in (TIME, stops, 0 * TIME)])
    even, uneven, still = path_speed_variation(track(clips))
    assert even < 0.2, "pixels are whole, so that steps are 4 or 5"
    assert uneven > 1
    assert np.isnan(still)
    nearly_still, just_moving = (paint(20 + way * TIME, 30)[None] for way in (6, 20))
    assert np.isnan(path_speed_variation(track(nearly_still)))
    assert not np.isnan(path_speed_variation(track(just_moving)))
    assert np.isnan(path_speed_variation(track(clips[:, [0, 3, 6, 9]]))).all(), "too few steps"
    assert not np.isnan(path_speed_variation(track(clips[:1, [0, 2, 4, 6, 9]]))).any()
