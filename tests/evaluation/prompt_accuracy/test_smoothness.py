"""Variation of speed: closed forms on rendered circles."""

import numpy as np
import pytest

from data_tools.scenes import circles
from t2vgan.data.shards import Geometry
from t2vgan.evaluation.prompt_accuracy.object_paths import track
from tests.support.smoothness import measure_speed_variation


def render(prompt: str, num_frames: int) -> np.ndarray:
    geometry = Geometry(num_frames=num_frames, height=64, width=64)
    return circles.render_clips(range(4), 0, geometry, prompts=[prompt] * 4).frames


@pytest.mark.parametrize("prompt", ["circle moving down", "circle rotating clockwise"])
def test_uniform_motion_has_even_speed(prompt):
    assert measure_speed_variation(track(render(prompt, 64))).max() < 0.05


def test_steps_of_one_and_three_frames_vary_by_half_their_mean():
    chosen = np.cumsum([0] + [1, 3] * 10)
    frames = render("circle moving left", 41)[:, chosen]
    np.testing.assert_allclose(measure_speed_variation(track(frames)), 0.5, atol=0.03)


def test_clips_without_an_object_are_not_measured():
    frames = render("circle moving down", 16)
    frames[1] = 255
    variation = measure_speed_variation(track(frames))
    assert np.isnan(variation).tolist() == [False, True, False, False]
