"""Parse every template of the scenes' prompts, and assign prompts to clips."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.scenes import shapes, shapes_two
from data_tools.scenes.drawing import COLOURS, SHAPES
from data_tools.scenes.motions import MOTIONS
from t2vgan.evaluation.prompt_accuracy.motion import expected_motion
from t2vgan.evaluation.prompt_accuracy.prompts import (
    CLIPS_PER_CHOSEN,
    assign_prompts,
    expected_objects,
    merge_paraphrases,
    scored_attributes,
)

LOOKS = st.tuples(st.sampled_from(list(COLOURS)), st.sampled_from(list(SHAPES)))
OBJECTS = st.tuples(LOOKS, st.sampled_from(list(MOTIONS))).map(lambda o: (*o[0], o[1]))


def test_every_template_of_every_composition_is_understood():
    prompts = shapes.PROMPTS + shapes.HELD_OUT_PROMPTS
    assert len(prompts) == 5 * 8 * 2 * 16 * 4
    for prompt in prompts:
        shape, colour, size, motion = shapes.COMPOSITIONS[prompt]
        motion = expected_motion(motion)
        expected = {"shape": shape, "colour": colour, "size": size, "motion": motion}
        assert expected_objects(prompt) == (expected,)


def test_prompts_that_ask_for_the_same_are_put_in_one_wording():
    one, other = list(shapes.TRAINING)[:2]
    prompts = [shapes.write(who, t) for t in shapes.TEMPLATES for who in (one, other)]
    prompts += ["fog over a lake", "fog over a sea", *prompts]
    worded = [*prompts[:2] * len(shapes.TEMPLATES), "fog over a lake", "fog over a sea"]
    assert merge_paraphrases(prompts) == worded + worded[:-2]


@given(first=OBJECTS, second=OBJECTS, template=st.sampled_from(shapes_two.TEMPLATES))
def test_two_objects_are_understood_in_their_order_unless_of_one_colour(first, second, template):
    prompt = shapes_two.write(first, second, template)
    assert shapes_two.parse(prompt) == (first, second)
    assert "a orange" not in prompt
    expected = tuple(
        {"shape": shape, "colour": colour, "motion": expected_motion(motion)}
        for colour, shape, motion in (first, second)
    )
    assert expected_objects(prompt) == (None if first[0] == second[0] else expected)


@pytest.mark.parametrize(
    ("motion", "meant"),
    [("down and right", "down-right"), ("down and left", "down-left"), ("up and left", "up-left"),
     ("up and down", "bouncing vertically"), ("left and right", "bouncing horizontally")],
)  # fmt: skip
def test_and_joins_directions_and_bounces(motion, meant):
    assert expected_objects(f"circle moving {motion}") == ({"shape": "circle", "motion": meant},)


@pytest.mark.parametrize(
    "prompt",
    [
        "a red blue circle moving up",
        "a red circle moving up and a circle moving down",
        "a red circle moving up, a blue circle moving up, a green circle moving up",
        "a red circle moving up and a blue circle",
        "big: a red circle moving up and a blue circle moving up",
        "a red circle",
        "",
    ],
)
def test_anything_else_is_unknown(prompt):
    assert expected_objects(prompt) is None


def test_only_what_differs_between_prompts_is_scored():
    assert scored_attributes(["a red circle moving up", "a red star moving up"]) == [
        "shape",
        "motion",
    ]
    assert scored_attributes(["a red circle moving up and a blue circle moving up"]) == [
        "colour",
        "motion",
    ]


@given(
    num_training=st.integers(1, 40),
    num_held_out=st.integers(0, 20),
    num_clips=st.integers(1, 150),
    seed=st.integers(0, 3),
)
def test_prompts_are_dealt_evenly_or_half_and_half(num_training, num_held_out, num_clips, seed):
    training = [f"t{i}" for i in range(num_training)]
    held_out = [f"h{i}" for i in range(num_held_out)]
    dealt = assign_prompts(training, held_out, num_clips, seed=seed)
    counts = Counter(dealt)
    assert len(dealt) == num_clips
    assert max(counts.values()) - min(counts.values()) <= 1
    if num_clips >= num_training + num_held_out:
        assert set(counts) == {*training, *held_out}
    else:
        num_chosen = -(-num_clips // CLIPS_PER_CHOSEN)
        num_chosen_held_out = min(num_chosen // 2, num_held_out)
        assert len(counts.keys() & set(held_out)) == num_chosen_held_out
        num_others = min(num_chosen - num_chosen_held_out, num_training)
        assert len(counts.keys() & set(training)) == num_others
    assert dealt == assign_prompts(training, held_out, num_clips, seed=seed)
