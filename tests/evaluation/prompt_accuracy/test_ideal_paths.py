"""Measure distances from ideal paths: none for these, the deviation for others."""

import dataclasses

import numpy as np
import pytest

from t2vgan.evaluation.prompt_accuracy.ideal_paths import path_residuals
from t2vgan.evaluation.prompt_accuracy.object_paths import track
from tests.support.painting import TIME, paint

T = np.linspace(0, 1, 16)
WAVE = np.abs(np.mod(0.2 + 4.5 * T, 2) - 1)
BOUNCE = np.abs(np.mod(1.4 + 2.3 * T, 2) - 1)
TURN = 2 * np.pi * (0.75 + 1.1 * T)
PATHS = {
    "right": (10 + 30 * T, 20 + 0 * T),
    "up": (30 + 0 * T, 50 - 25 * T),
    "down-left": (50 - 28 * T, 12 + 28 * T),
    "rotating clockwise": (32 + 13 * np.cos(TURN), 31 + 13 * np.sin(TURN)),
    "rotating counter-clockwise": (32 + 13 * np.cos(TURN), 31 - 13 * np.sin(TURN)),
    "bouncing vertically": (30 + 0 * T, 20 + 25 * BOUNCE),
    "bouncing horizontally": (20 + 25 * BOUNCE, 30 + 0 * T),
    "zigzagging vertically": (30 + 12 * WAVE, 15 + 30 * T),
    "zigzagging horizontally": (15 + 30 * T, 30 - 12 * WAVE),
    "expanding": (32 + 0 * T, 30 + 0 * T),
}
SINGLE = track(paint(32 + 0 * TIME, 32)[None])


def tracks(x, y, *, single=None):
    """Return a track of clips (N, T) with these positions."""
    x, y = np.atleast_2d(x), np.atleast_2d(y)
    num_objects = np.ones(x.shape, int) if single is None else np.atleast_2d(single).astype(int)
    hidden = num_objects == 0
    return dataclasses.replace(
        SINGLE,
        x=np.where(hidden, np.nan, x),
        y=np.where(hidden, np.nan, y),
        num_objects=num_objects,
        cut=np.zeros(x.shape, bool),
    )


@pytest.mark.parametrize("motion", PATHS)
def test_an_ideal_path_has_no_residual(motion):
    assert path_residuals(tracks(*PATHS[motion]), [motion]) == pytest.approx(0, abs=0.05)


@pytest.mark.parametrize("motion", PATHS)
def test_jitter_is_measured_in_pixels(motion):
    """Noise of std 0.5 in x and y lies 0.71 away.

    The fit removes a little of it.
    """
    rng = np.random.default_rng(0)
    x, y = (rng.normal(values, 0.5, (200, 16)) for values in PATHS[motion])
    residual = path_residuals(tracks(x, y), [motion] * 200).mean()
    assert 0.5 < residual < 0.5 * np.sqrt(2)


def test_the_path_of_another_motion_is_far():
    curve = (10 + 30 * T, 20 + 40 * T * (1 - T))
    assert path_residuals(tracks(*curve), ["right"])[0] > 2.5
    assert path_residuals(tracks(*PATHS["right"]), ["up"])[0] > 8
    assert path_residuals(tracks(*PATHS["rotating clockwise"]), ["rotating counter-clockwise"]) > 5


def test_hidden_frames_do_not_count_and_hidden_clips_have_no_residual():
    x, y = PATHS["rotating clockwise"]
    single = np.ones(16)
    single[[0, 5, 15]] = 0
    assert path_residuals(tracks(x, y, single=single), ["rotating clockwise"])[0] < 0.05
    mostly_hidden = np.arange(16) < 9
    both = tracks([x, x], [y, y], single=[mostly_hidden, np.ones(16)])
    assert np.isnan(path_residuals(both, ["rotating clockwise", "none"])).all()


def test_painted_circles_are_on_their_paths():
    frames = np.stack([paint(12 + 40 * TIME, 30), paint(30, 12 + 40 * TIME)])
    assert (path_residuals(track(frames), ["right", "down"]) < 0.3).all()
