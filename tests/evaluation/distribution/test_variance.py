"""Diversity within groups of clips: sets whose ratio is known."""

import numpy as np
import pytest

from t2vgan.evaluation.distribution.variance import (
    group_clips,
    group_variances,
    variance_ratio,
)


def draw(scale, num_clips=400, seed=0):
    return scale * np.random.default_rng(seed).normal(size=(num_clips, 50))


def test_the_ratio_of_deviations_is_that_of_the_scales():
    groups = ["a", "b"] * 200
    centres = np.where(np.array(groups) == "a", 100.0, 0.0)[:, None]
    real = group_variances(draw(2) + centres, groups)
    for scale in (0.5, 1, 3):
        generated = group_variances(draw(2 * scale, seed=1) + 2 * centres, groups)
        ratio = variance_ratio(generated, real)
        assert ratio == pytest.approx(scale, rel=0.03), "what groups differ in does not count"
    assert variance_ratio(group_variances(np.ones((400, 50)), groups), real) == 0


def test_only_groups_on_both_sides_are_compared():
    real = {"a": 4.0, "b": 1e6}
    assert variance_ratio({"a": 1.0, "c": 9.0}, real) == 0.5
    assert variance_ratio({"c": 9.0}, real) is None
    assert variance_ratio({"a": 1.0}, {"a": 0.0}) is None, "real clips do not vary"
    assert group_variances(np.ones((2, 3)), ["a", "b"]) == {}, "one clip has no variance"


def test_a_variance_is_unbiased_within_each_dimension_and_averaged_over_them():
    values = np.array([[0, 10], [2, 10], [4, 16], [9, 9]])  # variances 4 and 12 of the first three
    assert group_variances(values, ["a", "a", "a", "b"]) == {"a": pytest.approx(8)}


def test_real_clips_that_hardly_vary_give_no_ratio():
    generated = {"a": 1.0, "b": 1.0}
    assert variance_ratio(generated, {"a": 1.5e-9, "b": 0.0}) is None
    assert variance_ratio(generated, {"a": 4e-9, "b": 0.0}) is not None


def test_clips_are_grouped_by_what_has_enough_of_them():
    prompts = ["circle moving up", "the circle is moving up"] * 4
    assert group_clips(prompts, ["x"] * 8) == ("prompt", [prompts[0]] * 8), "paraphrases are one"
    captions = [f"a dog runs through field {n}" for n in range(8)]
    labels = ["run"] * 4 + ["walk"] * 4
    assert group_clips(captions, labels) == ("label", labels)
    assert group_clips(captions, []) == ("nothing", [""] * 8)
    assert group_clips(captions, captions) == ("nothing", [""] * 8), "labels of one clip each"
    half = ["circle"] * 4 + captions[:4]
    assert group_clips(half, []) == ("nothing", [""] * 8)
    assert group_clips([*half, "circle"], [])[0] == "prompt"
