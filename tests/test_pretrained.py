"""Check the shipped weights: found by name, as good as documented."""

import pytest

from t2vgan.checkpoint.weights import find_weights, list_shipped_weights
from t2vgan.evaluation.prompt_accuracy.prompts import assign_prompts
from t2vgan.evaluation.scores import score_clips
from t2vgan.pipeline import TextToVideo

NUM_CLIPS = 64


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
