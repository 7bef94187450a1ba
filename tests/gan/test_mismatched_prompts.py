"""Other prompts: sometimes any, sometimes the nearest that means something else."""

import itertools

import numpy as np
import pytest

from t2vgan.gan.mismatched_prompts import MismatchedPrompts
from t2vgan.tokenizer import tokenize

PROMPTS = [
    f"a {size} {colour} ball moving {way}"
    for size, colour, way in itertools.product(
        ("small", "large"), ("red", "blue", "green"), ("left", "right", "up-left", "up-right")
    )
]
UNRELATED = "nothing is like this sentence"


def draw(prompts, *, hard_share, step=0, positions=None):
    others = MismatchedPrompts([*PROMPTS, UNRELATED], hard_share)
    places = np.arange(len(prompts)) if positions is None else positions
    return others.draw(prompts, places, seed=3, step=step, num_clips=200)


def num_changed(prompt, other):
    ours, theirs = tokenize(prompt), tokenize(other)
    assert len(ours) == len(theirs)
    return sum(a != b for a, b in zip(ours, theirs, strict=True))


def test_hard_ones_differ_in_exactly_one_word_each_word_as_often():
    prompt = PROMPTS[0]
    others = draw([prompt] * 200, hard_share=1.0)
    assert {num_changed(prompt, other) for other in others} == {1}
    words = np.array([tokenize(prompt)] * 200) != np.array([tokenize(other) for other in others])
    shares = words.mean(axis=0)
    assert shares[[0, 3, 4]].max() == 0  # "a", "ball" and "moving" never change
    np.testing.assert_allclose(shares[[1, 2, 5]], 1 / 3, atol=0.12)


def test_another_spelling_is_no_other_prompt():
    spelt = ["A red ball, left.", "a red ball left", "a blue ball left"]
    others = MismatchedPrompts(spelt, 1.0).draw(
        spelt[:1] * 200, np.arange(200), seed=0, step=0, num_clips=200
    )
    assert set(others) == {"a blue ball left"}


def test_the_share_is_kept_and_the_rest_is_any_prompt():
    prompt = PROMPTS[0]
    others = draw([prompt] * 200, hard_share=0.5)
    is_near = [len(tokenize(o)) == 6 and num_changed(prompt, o) == 1 for o in others]
    assert 0.4 < np.mean(is_near) < 0.8
    assert len(set(draw([prompt] * 200, hard_share=0.0))) > 15


def test_a_prompt_without_a_neighbour_gets_any():
    assert len(set(draw([UNRELATED] * 200, hard_share=1.0))) > 15


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_draw_is_the_same_for_every_number_of_ranks(world_size):
    prompts = np.array(PROMPTS)[np.random.default_rng(0).integers(len(PROMPTS), size=200)]
    whole = draw(prompts.tolist(), hard_share=0.5)
    split = [
        draw(prompts[rows].tolist(), hard_share=0.5, positions=rows)
        for rows in np.array_split(np.arange(200), world_size)
    ]
    assert list(itertools.chain(*split)) == whole
    assert draw(prompts.tolist(), hard_share=0.5, step=1) != whole
