"""Check the shipped weights: found by name, as good as documented."""

import numpy as np
import pytest

from t2vgan.checkpoint.weights import find_weights, list_shipped_weights
from t2vgan.evaluation.prompt_accuracy.object_paths import track
from t2vgan.evaluation.prompt_accuracy.prompts import assign_prompts
from t2vgan.evaluation.prompt_accuracy.smoothness import measure_speed_variation
from t2vgan.evaluation.scores import score_clips
from t2vgan.pipeline import TextToVideo

NUM_CLIPS = 64
NUM_PATHS = 24


def test_shipped_weights_are_found_by_name():
    assert set(list_shipped_weights()) == {"circles", "shapes"}
    assert find_weights("shapes") == list_shipped_weights()["shapes"]


@pytest.mark.parametrize("name", ["circles", "shapes"])
def test_shipped_weights_follow_their_prompts(name):
    pipeline = TextToVideo.from_pretrained(name)
    info = pipeline.info
    prompts = assign_prompts(info.prompts, info.held_out_prompts, NUM_CLIPS, seed=1)
    frames = pipeline.generate(prompts, range(NUM_CLIPS))
    scores = score_clips(frames, prompts, info.held_out_prompts)
    assert scores.accuracy >= 0.95
    assert scores.accuracy_held_out >= 0.95
    assert scores.one_object >= 0.98


@pytest.mark.parametrize("motion", ["moving", "rotating"])
@pytest.mark.parametrize("name", ["circles", "shapes"])
def test_motions_of_even_speed_stay_even_between_trained_times(name, motion):
    pipeline = TextToVideo.from_pretrained(name)
    prompts = [prompt for prompt in pipeline.info.prompts if motion in prompt.split()]
    prompts = [prompts[index * len(prompts) // NUM_PATHS] for index in range(NUM_PATHS)]

    def speed_variation(num_frames: int) -> float:
        frames = pipeline.generate(prompts, range(NUM_PATHS), num_frames=num_frames)
        return np.nanmean(measure_speed_variation(track(frames)))

    fine = speed_variation(64)
    assert fine <= speed_variation(pipeline.info.num_frames), "stops at trained times"
    if name == "circles":
        assert fine <= 0.15
