"""Mismatched prompts: another clip's or one a word away, each as often as it is shown."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch

from t2vgan.gan import mismatched_prompts
from t2vgan.gan.mismatched_prompts import (
    Group,
    HardPrompts,
    draw_partners,
    keep_own_of_empty,
    list_exchanges,
)
from t2vgan.tokenizer import split_phrases, tokenize

PROMPTS = [
    f"a {size} {colour} ball moving {way}"
    for size, colour, way in itertools.product(
        ("small", "large"), ("red", "blue", "green"), ("left", "right", "up-left", "up-right")
    )
]
UNRELATED = "nothing is like this sentence"
EVEN = dict.fromkeys([*PROMPTS, UNRELATED], 1.0)


def draw(prompts, *, share, step=0, positions=None, frequencies=EVEN):
    places = np.arange(len(prompts)) if positions is None else positions
    num_clips = max(200, len(prompts))
    hard = HardPrompts(frequencies, share)
    return hard.draw(prompts, places, seed=3, step=step, num_clips=num_clips)


def num_changed(prompt, other):
    ours, theirs = tokenize(prompt), tokenize(other)
    assert len(ours) == len(theirs)
    return sum(a != b for a, b in zip(ours, theirs, strict=True))


# --- partners -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("num_clips", "number"), [(2, 1), (3, 2), (16, 1), (16, 15)])
def test_partners_are_other_clips_and_each_is_a_partner_equally_often(num_clips, number):
    for step in range(20):
        partners = draw_partners(seed=0, step=step, num_clips=num_clips, number=number)
        for place in range(number):
            assert sorted(partners[:, place]) == list(range(num_clips))
        for clip, others in enumerate(partners):
            assert len({clip, *others}) == 1 + number


def test_the_first_partner_does_not_depend_on_how_many_there_are():
    few, many = (draw_partners(seed=0, step=3, num_clips=8, number=n) for n in (1, 5))
    assert (many[:, :1] == few).all()


def test_a_single_clip_is_its_own_partner():
    assert draw_partners(seed=0, step=0, num_clips=1).tolist() == [[0]]


def test_any_other_clip_is_a_partner_equally_often():
    partners = np.array(
        [draw_partners(seed=1, step=step, num_clips=5)[:, 0] for step in range(4000)]
    )
    counts = np.array([np.bincount(partners[:, clip], minlength=5) for clip in range(5)])
    np.testing.assert_allclose(counts, 1000 * (1 - np.eye(5)), rtol=0.12)


def test_beside_an_empty_prompt_nothing_is_mismatched():
    empty, circle, square = [1, 0], [2, 3], [2, 4]
    own = torch.tensor([empty, circle, circle])
    others = torch.tensor([[square], [empty], [square]])
    kept = torch.tensor([[empty], [circle], [square]])
    assert torch.equal(keep_own_of_empty(own, others, 1), kept)
    assert keep_own_of_empty(own, others, None) is others


# --- prompts a single word away -------------------------------------------------------------------


def test_hard_ones_differ_in_exactly_one_word_each_word_as_often():
    prompt = PROMPTS[0]
    others = list(draw([prompt] * 200, share=1.0).values())
    assert {num_changed(prompt, other) for other in others} == {1}
    words = np.array([tokenize(prompt)] * 200) != np.array([tokenize(other) for other in others])
    shares = words.mean(axis=0)
    assert shares[[0, 3, 4]].max() == 0  # "a", "ball" and "moving" never change
    np.testing.assert_allclose(shares[[1, 2, 5]], 1 / 3, atol=0.12)


def test_another_spelling_is_no_other_prompt():
    spelt = ["A red ball, left.", "a red ball left", "a blue ball left", "a red ball right"]
    frequencies = dict(zip(spelt, (1.0, 1.0, 2.0, 2.0), strict=True))
    others = draw(spelt[:1] * 200, share=1.0, frequencies=frequencies)
    assert len(others) == 200
    assert Counter(others.values()).keys() == {"a blue ball left", "a red ball right"}
    assert HardPrompts(frequencies, 1.0).frequencies == [2.0, 2.0, 2.0]


def test_other_words_for_the_same_are_no_other_prompt():
    same = ["a red circle moving up", "a crimson circle moving up", "a red disc moving up"]
    assert set(draw(same[:1] * 99, share=1.0, frequencies=dict.fromkeys(same, 1.0)).values()) == {
        same[0]
    }


def test_others_of_a_group_are_drawn_by_their_frequencies():
    group = Group([5, 6, 7, 8], [1.0, 3.0, 6.0, 10.0])  # frequencies 1, 2, 3, 4
    shares = (0.0, 0.12, 0.125, 0.25, 0.4, 0.5, 0.99)
    assert [group.draw_other(6, share) for share in shares] == [5, 5, 7, 7, 7, 8, 8]
    assert [group.draw_other(5, share) for share in (0.0, 0.3, 0.99)] == [6, 7, 8]
    assert group.sum_others(6) == 8


def test_the_largest_draw_is_still_of_the_group():
    """It is rounded to the sum of all frequencies."""
    group = Group([5, 6, 7], [0.1, 0.1 + 0.1, 0.1 + 0.1 + 0.1])
    assert group.draw_other(5, math.nextafter(1.0, 0.0)) == 7


def test_very_many_prompts_are_not_indexed(monkeypatch):
    monkeypatch.setattr(mismatched_prompts, "MAX_PROMPTS", len(EVEN) - 1)
    assert draw(PROMPTS, share=1.0) == {}
    monkeypatch.setattr(mismatched_prompts, "MAX_PROMPTS", len(EVEN))
    assert draw(PROMPTS, share=1.0) != {}


def test_the_share_is_kept_and_a_prompt_without_a_neighbour_stays():
    others = draw([UNRELATED] * 200, share=0.5)
    assert 0.4 < len(others) / 200 < 0.6
    assert set(others.values()) == {UNRELATED}
    assert draw(PROMPTS, share=0.0) == {}


def test_a_prompt_that_the_data_do_not_list_stays():
    unlisted = "a tiny red ball moving left"
    assert set(draw([unlisted] * 9, share=1.0).values()) == {unlisted}


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_draw_is_the_same_for_every_number_of_ranks(world_size):
    prompts = np.array(PROMPTS)[np.random.default_rng(0).integers(len(PROMPTS), size=200)]
    whole = draw(prompts.tolist(), share=0.5)
    split = {}
    for rows in np.array_split(np.arange(200), world_size):
        found = draw(prompts[rows].tolist(), share=0.5, positions=rows)
        split |= {int(rows[row]): other for row, other in found.items()}
    assert split == whole
    assert draw(prompts.tolist(), share=0.5, step=1) != whole


# --- no shortcut where captions are skewed --------------------------------------------------------


def count_pairs(rows: np.ndarray, others: np.ndarray, num_prompts: int) -> np.ndarray:
    """Count (own, other) prompts, without pairs of equal ones, which the loss leaves out."""
    pairs = np.zeros((num_prompts, num_prompts))
    np.add.at(pairs, (rows, others), 1.0)
    np.fill_diagonal(pairs, 0.0)
    return pairs


def lowest_loss(pairs: np.ndarray) -> float:
    """Return the mismatched loss of the best scorer that sees prompts only.

    The mean of softplus(score[other] - score[own]): a Bradley-Terry model, fitted by Newton steps.
    """
    scores = np.zeros(len(pairs))
    for _ in range(30):
        lost = 1 / (1 + np.exp(scores[:, None] - scores[None]))  # own, other
        gradient = (pairs * lost).sum(axis=0) - (pairs * lost).sum(axis=1)
        weight = pairs * lost * (1 - lost)
        weight = weight + weight.T
        hessian = np.diag(weight.sum(axis=1)) - weight + 1e-6 * np.eye(len(pairs))
        scores -= np.linalg.solve(hessian, gradient)
    return float((pairs * np.logaddexp(0, scores[None] - scores[:, None])).sum() / pairs.sum())


def skewed(num_prompts: int) -> np.ndarray:
    frequencies = 1.0 / np.arange(1, num_prompts + 1)
    return frequencies / frequencies.sum()


def test_a_scorer_that_sees_no_video_cannot_win_from_frequent_prompts():
    """Within a batch each prompt wins as often as it loses, so that the best scores are equal."""
    random, frequencies = np.random.default_rng(0), skewed(10)
    own = random.choice(10, size=(200, 64), p=frequencies)
    partners = np.array(
        [draw_partners(seed=0, step=step, num_clips=64)[:, 0] for step in range(200)]
    )
    others = np.take_along_axis(own, partners, axis=1)
    assert lowest_loss(count_pairs(own.ravel(), others.ravel(), 10)) == pytest.approx(np.log(2))
    uniform = random.integers(10, size=own.size)
    assert lowest_loss(count_pairs(own.ravel(), uniform, 10)) < 0.6, "of distinct prompts it wins"


def test_a_scorer_that_sees_no_video_cannot_win_from_rare_words():
    """Some prompts are left out, so that numbers of neighbours differ too."""
    prompts = [*PROMPTS[:3], *PROMPTS[5:15], PROMPTS[20], UNRELATED]
    frequencies = dict(zip(prompts, skewed(len(prompts)), strict=True))
    own = np.random.default_rng(0).choice(len(prompts), size=40_000, p=skewed(len(prompts)))
    hard = draw([prompts[row] for row in own], share=1.0, frequencies=frequencies)
    others = np.array([prompts.index(hard[row]) for row in range(len(own))])
    pairs = count_pairs(own, others, len(prompts))
    assert pairs.sum() > 0.5 * len(own), "most of the exchanges are made"
    assert lowest_loss(pairs) == pytest.approx(np.log(2), abs=2e-3)
    uniform = np.array([uniform_neighbour(prompts, row, place) for place, row in enumerate(own)])
    assert lowest_loss(count_pairs(own, uniform, len(prompts))) < 0.65, "of any neighbour it wins"


def uniform_neighbour(prompts: list[str], row: int, place: int) -> int:
    """Return one of the prompts a word away, each as often; without one, the row itself."""
    words = tokenize(prompts[row])
    near = [
        number
        for number, other in enumerate(map(tokenize, prompts))
        if len(other) == len(words) and sum(a != b for a, b in zip(words, other, strict=True)) == 1
    ]
    return near[place % len(near)] if near else row


# --- words exchanged between phrases --------------------------------------------------------------

THINGS = [
    " ".join(words)
    for words in itertools.product(
        ("red", "blue", "green"), ("ball", "cube"), ("rolling", "moving up", "moving up-right")
    )
]
PAIRS = [f"a {one} and a {other}" for one, other in itertools.permutations(THINGS, 2)]


def draw_exchanged(prompts, frequencies=PAIRS):
    hard = HardPrompts(dict.fromkeys(frequencies, 1.0), 1.0, max_phrases=2)
    places = np.arange(len(prompts))
    return list(hard.draw(prompts, places, seed=3, step=0, num_clips=len(places)).values())


def find_things(prompt):
    return {tuple(tokenize(phrase)[1:]) for phrase in split_phrases(prompt, 2)}


def set_aside_and(words):
    return [each for each in words if each != "and"]


def num_arrangements(prompt):
    """Count the pairs of things with a prompt's attributes."""
    (colour, shape, *motion), (other_colour, other_shape, *other_motion) = find_things(prompt)
    differ = (colour != other_colour) + (shape != other_shape) + (motion != other_motion)
    return 2 ** max(0, differ - 1)


def test_exchanged_prompts_have_the_same_words_and_other_things():
    known = {tuple(tokenize(thing)) for thing in THINGS}
    others = draw_exchanged(PAIRS)
    assert len(others) == len(PAIRS)
    num_same = 0
    for prompt, other in zip(PAIRS, others, strict=True):
        ours, theirs = find_things(prompt), find_things(other)
        assert theirs <= known, "no half of a motion"
        assert sorted(set_aside_and(tokenize(other))) == sorted(set_aside_and(tokenize(prompt)))
        num_same += ours == theirs
    assert num_same == sum(num_arrangements(prompt) == 1 for prompt in PAIRS)


def test_each_exchange_comes_as_often():
    others = draw_exchanged(["a red ball rolling, a blue cube moving up"] * 900)
    counts = Counter(frozenset(find_things(other)) for other in others)
    assert len(counts) == 3
    assert min(counts.values()) > 250


def test_words_are_exchanged_at_the_same_positions_and_the_longer_end_moves_whole():
    exchanged = list(list_exchanges(("a", "red", "ball"), ("a", "blue", "cube", "moving", "up")))
    assert exchanged == [
        (("a", "blue", "ball"), ("a", "red", "cube", "moving", "up")),
        (("a", "blue", "cube", "moving", "up"), ("a", "red", "ball")),
        (("a", "red", "cube", "moving", "up"), ("a", "blue", "ball")),
    ]


def test_articles_stay_before_their_words():
    prompt = "an orange ball rolling, a blue cube moving up"
    other = "an orange cube moving up, a blue ball rolling"
    assert set(draw_exchanged([prompt] * 9, frequencies=[prompt, other])) == {other}


def test_a_prompt_of_one_phrase_changes_in_one_word():
    single = [f"a {thing}" for thing in THINGS]
    (other,) = draw_exchanged(["a red ball moving up"], frequencies=single)
    assert num_changed("a red ball moving up", other) == 1


def test_an_exchange_that_the_data_do_not_know_is_none():
    prompt = "a red ball rolling and a blue cube jumping"
    assert draw_exchanged([prompt], frequencies=[prompt]) == [prompt]
