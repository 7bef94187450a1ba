"""Scores in closed form, and controls that must fail."""

import json
import math

import numpy as np
import pytest

from data_tools.scenes import circles
from t2vgan.data.shards import Geometry
from t2vgan.errors import UserError
from t2vgan.evaluation.prompt_accuracy.controls import measure_controls
from t2vgan.evaluation.prompt_accuracy.object_paths import track
from t2vgan.evaluation.scores import (
    compare,
    may_reach,
    score_clips,
    score_real_track,
    score_track,
    wilson_interval,
)
from tests.support.painting import TIME, paint

GEOMETRY = Geometry(num_frames=10, height=32, width=48)
RIGHT, DOWN = paint(12 + 40 * TIME, 30), paint(30, 12 + 40 * TIME)
EMPTY = np.full_like(RIGHT, 255)


@pytest.mark.parametrize(("num_right", "num_clips"), [(0, 5), (3, 10), (10, 10), (1900, 2000)])
def test_wilson_limits_are_the_shares_that_the_score_test_just_accepts(num_right, num_clips):
    low, high = wilson_interval(num_right, num_clips)
    share = num_right / num_clips
    for limit in {low, high} - {0.0, 1.0}:
        distance = abs(share - limit) / math.sqrt(limit * (1 - limit) / num_clips)
        assert distance == pytest.approx(1.959964, abs=1e-5)
    assert low <= share <= high
    assert wilson_interval(num_clips - num_right, num_clips) == pytest.approx((1 - high, 1 - low))


def test_wilson_limits_in_print():
    """Newcombe 1998, table I: 81 of 263."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 0) == (0, 1)


def test_a_share_may_reach_what_its_interval_holds():
    assert may_reach(0.985, 0.98, 380)
    assert may_reach(0.98, 0.98, 380)
    assert may_reach(0.5, 0.98, 380)
    assert not may_reach(0.97, 0.93, 380)
    assert may_reach(0.97, 0.93, 38), "of few clips an accuracy says little"
    assert may_reach(-1.0, 0.0, 19), "the first evaluation"


def test_accuracy_and_confusion_count_clips():
    frames = np.stack([RIGHT, RIGHT, DOWN, EMPTY, DOWN, RIGHT])
    right, down = "circle moving right", "circle moving down"
    scores = score_clips(frames, [right, right, right, right, down, down], [down])
    assert scores.accuracy == 0.5
    assert scores.accuracy_interval == wilson_interval(2, 4)
    assert scores.accuracy_held_out == 0.5
    assert scores.accuracy_held_out_interval == wilson_interval(1, 2)
    assert scores.per_prompt == {right: 0.5, down: 0.5}
    assert scores.clips_per_prompt == {right: 4, down: 2}
    assert scores.confusion == {
        right: {"right": 2, "down": 1, "none": 1},
        down: {"down": 1, "right": 1},
    }
    assert scores.one_object == pytest.approx(50 / 60)
    assert json.loads(scores.model_dump_json())["num_clips"] == 6


def test_only_one_kind_of_prompt_gives_no_number_for_the_other():
    right = "circle moving right"
    assert score_clips(RIGHT[None], [right]).accuracy_held_out is None
    held_out = score_clips(RIGHT[None], [right], [right])
    assert (held_out.accuracy, held_out.accuracy_held_out) == (None, 1)
    assert held_out.steadiness.area is None
    assert held_out.spread.start is None


def test_the_path_of_a_held_out_clip_does_not_count():
    right, down = "circle moving right", "circle moving down"
    slower = paint(30, 12 + 33 * TIME)
    first, other = score_clips(RIGHT[None], [right]), score_clips(slower[None], [down])
    assert other.path_residual != first.path_residual
    both = score_clips(np.stack([RIGHT, slower]), [right, down], [down])
    assert both.path_residual == first.path_residual


def test_only_what_a_prompt_names_is_asked_of_its_clip():
    red = paint(12 + 40 * TIME, 30, colour=(255, 0, 0))
    prompts = [f"{look} moving right" for look in ("a red circle", "a circle", "a blue circle")]
    scores = score_clips(np.stack([red] * 3), prompts)
    assert scores.per_prompt == dict(zip(prompts, (1, 1, 0), strict=True))
    colour, motion = scores.per_attribute["colour"], scores.per_attribute["motion"]
    assert (colour.num_clips, colour.right) == (2, 0.5)
    assert (motion.num_clips, motion.right) == (3, 1)
    assert colour.num_held_out_clips == 0
    held_out = score_clips(np.stack([red] * 3), prompts, prompts[:1]).per_attribute["colour"]
    assert (held_out.num_clips, held_out.num_held_out_clips) == (1, 1)


def test_unknown_prompts_are_listed():
    with pytest.raises(UserError, match="1 of the prompts: 'a dog runs'"):
        score_clips(np.stack([RIGHT, RIGHT]), ["circle moving right", "a dog runs"])


def test_every_clip_needs_its_prompt():
    with pytest.raises(ValueError, match="2 clips but 1 prompts"):
        score_clips(np.stack([RIGHT, RIGHT]), ["circle moving right"])


def test_drift_is_the_std_over_frames():
    """Area and colour alternate between two values, two stds apart."""
    odd = np.arange(10) % 2 == 1
    colours = np.where(odd[:, None], (0, 60, 255), (0, 0, 255))
    frames = paint(12 + 40 * TIME, 30, np.where(odd, 6, 5), colour=colours)
    seen = track(frames[None]).area[0]
    small, large = seen[~odd], seen[odd]
    assert (np.pi * 25 - 6 < small).all()
    assert (np.pi * 36 - 8 < large).all()
    steadiness = score_clips(frames[None], ["circle moving right"]).steadiness
    assert steadiness.area == pytest.approx(seen.std() / seen.mean())
    assert steadiness.area == pytest.approx(11 / 61, abs=0.02)
    assert steadiness.colour == pytest.approx(30 / math.sqrt(3))


def test_drift_of_area_leaves_out_what_should_change_and_what_is_cut_off():
    shrinking = paint(32, 32, 10 - 6 * TIME)
    leaving = paint(40 + 23 * TIME, 32)
    scores = score_clips(
        np.stack([shrinking, leaving]), ["circle shrinking", "circle moving right"]
    )
    assert scores.steadiness.area < 0.03, "what is left are hard edges on a grid of pixels"


def test_spread_is_the_std_within_a_prompt():
    """Two clips that differ by d have variance d^2 / 2.

    Two prompts, two clips each; RMS over prompts.
    """
    rights = [paint(x + 30 * TIME, 30) for x in (10, 16)]
    downs = [paint(30, 10 + speed * TIME) for speed in (30, 40)]
    prompts = ["circle moving right"] * 2 + ["circle moving down"] * 2
    spread = score_clips(np.stack(rights + downs), prompts).spread
    assert spread.start == pytest.approx(math.sqrt(6**2 / 2 / 4) / 64, rel=0.02)
    assert spread.speed == pytest.approx(math.sqrt(10**2 / 2 / 2) / 64, rel=0.02)
    assert spread.size < 0.001
    with_lost_clip = score_clips(np.stack([*rights, *downs, EMPTY]), [*prompts, prompts[0]])
    assert with_lost_clip.spread == spread, "a clip without an object has no position"


def test_real_clips_of_one_content_vary_whatever_their_wording():
    frames = np.stack([paint(x + 30 * TIME, 30) for x in (10, 16)])
    prompts = ["circle moving right", "the circle is moving right"]
    assert score_clips(frames, prompts).spread.start is None
    spread = score_real_track(track(frames), prompts).spread
    assert spread == score_clips(frames, prompts[:1] * 2).spread
    assert spread.start is not None


def test_one_clip_per_prompt_is_no_diversity_and_real_clips_have_all_of_it():
    rng = np.random.default_rng(0)
    real, again = (
        circles.render_clips(range(start, start + 900), 1, GEOMETRY) for start in (0, 900)
    )
    real_scores = score_clips(real.frames, real.prompts)
    as_real = compare(score_clips(again.frames, again.prompts), real_scores)
    assert all(ratio == pytest.approx(1, abs=0.1) for _, ratio in as_real)
    first = {prompt: index for index, prompt in reversed(list(enumerate(real.prompts)))}
    prompts = [real.prompts[index] for index in rng.permutation(900)]
    collapsed = real.frames[[first[prompt] for prompt in prompts]]
    scores = score_clips(collapsed, prompts)
    assert scores.accuracy == 1, "accuracy alone would not notice"
    assert compare(scores, real_scores).diversity < 1e-6


def test_an_unreadable_clip_does_not_flicker():
    noisy = np.random.default_rng(0).integers(200, 255, RIGHT.shape, np.uint8)
    clips, prompts = np.stack([noisy, np.zeros_like(RIGHT)]), ["circle moving right"] * 2
    flicker = score_clips(clips[:1], prompts[:1]).flicker
    assert flicker > 1
    scores = score_track(track(clips), prompts, is_readable=np.array([True, False]))
    assert scores.flicker == flicker


def test_clips_without_any_variation_give_no_ratio():
    still = score_clips(np.stack([RIGHT] * 3), ["circle moving right"] * 3)
    ratio = compare(still, still)
    assert ratio.diversity_start is None
    assert ratio.diversity is None


def test_controls_fail_as_they_must():
    clips = circles.render_clips(range(1500), 4, GEOMETRY)
    controls = measure_controls(track(clips.frames), clips.prompts, 0)
    assert 0.06 < controls.chance < 0.1, "18 prompts, 15 motions"
    assert controls.shuffled_prompts.accuracy == pytest.approx(controls.chance, abs=0.025)
    assert controls.shuffled_frames.accuracy < 0.04
    assert controls != measure_controls(track(clips.frames), clips.prompts, 1)
