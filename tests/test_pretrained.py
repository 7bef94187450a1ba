"""Check the shipped weights: found by name, as good as documented."""

import itertools

import numpy as np
import pytest

from t2vgan.checkpoint.weights import find_weights, list_shipped_weights
from t2vgan.evaluation.prompt_accuracy.object_paths import track
from t2vgan.evaluation.prompt_accuracy.prompts import assign_prompts
from t2vgan.evaluation.scores import score_clips
from t2vgan.pipeline import TextToVideo
from tests.support.smoothness import measure_speed_variation

NUM_CLIPS = 64
NUM_PATHS = 24
NUM_ACTIONS = 20
MAX_SHIFT = 5  # pixels from a frame to the next
NUM_ROWS_OF_WORLD = 24  # of 32; the hand and its weapon do not move


def test_shipped_weights_are_found_by_name():
    assert set(list_shipped_weights()) == {"actions", "circles", "shapes", "shapes-two"}
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


def test_two_objects_have_their_own_colours():
    pipeline = TextToVideo.from_pretrained("shapes-two")
    known = pipeline.info.prompts
    prompts = [known[index * len(known) // NUM_CLIPS] for index in range(NUM_CLIPS)]
    scores = score_clips(pipeline.generate(prompts, range(NUM_CLIPS)), prompts)
    assert scores.accuracy >= 0.75
    assert scores.per_attribute["colour"].right >= 0.85
    assert scores.one_object >= 0.9
    phrases = [prompt.split(" and ")[0] for prompt in prompts if " and " in prompt]
    scores = score_clips(pipeline.generate(phrases, range(len(phrases))), phrases)
    assert scores.per_attribute["colour"].right >= 0.9, "one phrase, one object"


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


def test_actions_go_the_way_that_their_prompts_name():
    """Strafing shifts the picture to the other side; standing still, nothing moves."""
    pipeline = TextToVideo.from_pretrained("actions")

    def draw(words: str) -> np.ndarray:
        prompts = [prompt for prompt in pipeline.info.prompts if prompt.startswith(words)]
        prompts = (prompts * NUM_ACTIONS)[:NUM_ACTIONS]
        return np.stack(pipeline.generate(prompts, range(NUM_ACTIONS)))

    left, right, still = map(draw, ("strafing left", "strafing right", "standing still"))
    assert np.mean([shift_right(frames) > 0 for frames in left]) >= 0.9
    assert np.mean([shift_right(frames) < 0 for frames in right]) >= 0.9
    assert measure_change(still) < measure_change(left) / 5


def test_actions_are_seen_in_other_places_with_other_seeds():
    pipeline = TextToVideo.from_pretrained("actions")
    prompt = next(p for p in pipeline.info.prompts if p.startswith("strafing left"))
    clips = np.stack(pipeline.generate([prompt] * NUM_ACTIONS, range(NUM_ACTIONS))).astype(int)
    assert np.abs(clips[1:] - clips[:-1]).mean() > 3 * measure_change(clips[:, :2])


def shift_right(frames: np.ndarray) -> int:
    """Return the pixels by which the view moves to the right, summed over frames."""
    grey = frames.astype(np.float32).mean(axis=-1)[:, :NUM_ROWS_OF_WORLD]

    def difference(before: np.ndarray, after: np.ndarray, shift: int) -> float:
        moved = np.roll(after, -shift, axis=1) - before
        return float((moved[:, MAX_SHIFT:-MAX_SHIFT] ** 2).mean())

    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    return sum(
        min(shifts, key=lambda shift: difference(before, after, shift))
        for before, after in itertools.pairwise(grey)
    )


def measure_change(clips: np.ndarray) -> float:
    return float(np.abs(np.diff(clips.astype(int), axis=1)).mean())
