"""Classify attributes of real, imperfect and wrong clips."""

import cv2
import numpy as np
import pytest

from data_tools.scenes import shapes, shapes_textured, shapes_two
from data_tools.scenes.drawing import COLOURS, SHAPES, blank, draw_objects
from t2vgan.data.shards import Geometry
from t2vgan.evaluation.prompt_accuracy.attributes import match_objects
from t2vgan.evaluation.prompt_accuracy.object_paths import track
from t2vgan.evaluation.scores import score_clips, wilson_interval

NUM_FRAMES = 16


def render(scene, num_clips, *, side=64, held_out=False, seed=11):
    geometry = Geometry(num_frames=NUM_FRAMES, height=side, width=side)
    prompts = None
    if held_out:
        every = scene.HELD_OUT_PROMPTS
        prompts = every[:: max(1, len(every) // num_clips)][:num_clips]
        num_clips = len(prompts)
    return scene.render_clips(range(num_clips), seed, geometry, prompts=prompts)


def accuracy(frames, prompts):
    return score_clips(frames, prompts).accuracy


@pytest.mark.parametrize("held_out", [False, True], ids=["training", "held out"])
@pytest.mark.parametrize("side", [64, 32])
@pytest.mark.parametrize("scene", [shapes, shapes_textured, shapes_two], ids=lambda s: s.__name__)
def test_real_clips_are_read_right(scene, side, held_out):
    clips = render(scene, 400, side=side, held_out=held_out)
    assert len(clips.prompts) >= 300
    assert accuracy(clips.frames, clips.prompts) >= 0.995


def painted(*objects, num_frames=NUM_FRAMES):
    """Draw one clip of objects that move straight along x.

    Each is (colour, shape, x from, x to, y).
    """
    frames = blank(1, num_frames, height=64, width=64)
    for colour, shape, start, end, y in objects:
        x = np.linspace(start, end, num_frames)
        centres = np.stack([x, np.full(num_frames, y)], axis=1)[None]
        draw_objects(frames, centres, np.full((1, num_frames), 6.0), [shape], [colour])
    return frames


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("colour", COLOURS)
def test_every_look_is_read_and_taken_for_no_other(colour, shape):
    frames = painted((colour, shape, 15, 45, 30))
    others = [name for name in SHAPES if name != shape]
    assert accuracy(frames, [f"a {colour} {shape} moving right"]) == 1
    clips = np.repeat(frames, len(others), axis=0)
    # two prompts that differ make an attribute scored: one clip is right, the others are not
    wrong = [f"a {colour} {other} moving right" for other in others]
    assert accuracy(clips, wrong) == 0


def blurred(frames):
    flat = frames.reshape(-1, *frames.shape[2:])
    return np.stack([cv2.GaussianBlur(f, (0, 0), 0.7) for f in flat]).reshape(frames.shape)


def noisy(frames):
    noise = np.random.default_rng(0).integers(-8, 9, frames.shape)
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("scene", [shapes, shapes_two], ids=lambda s: s.__name__)
@pytest.mark.parametrize("spoil", [blurred, noisy], ids=lambda f: f.__name__)
def test_imperfect_clips_are_still_right(scene, spoil):
    clips = render(scene, 80)
    assert accuracy(spoil(clips.frames), clips.prompts) >= 0.95


@pytest.mark.parametrize("name", ["shape", "colour", "size", "motion"])
def test_a_prompt_with_one_wrong_value_is_wrong(name):
    clips = render(shapes, 200)
    place = shapes.ATTRIBUTES.index(name)
    values = list((shapes.SHAPES, shapes.COLOURS, shapes.SIZES, shapes.MOTIONS)[place])
    wrong = []
    for prompt in clips.prompts:
        said = list(shapes.COMPOSITIONS[prompt])
        said[place] = values[(values.index(said[place]) + 1) % len(values)]
        wrong.append(shapes.write(tuple(said), shapes.TEMPLATES[0]))
    scores = score_clips(clips.frames, wrong)
    assert scores.accuracy <= 0.01
    assert scores.per_attribute[name].right <= 0.01
    for other in set(shapes.ATTRIBUTES) - {name}:
        assert scores.per_attribute[other].right >= 0.99


# --- two objects --------------------------------------------------------------------------------

TWO = (("red", "circle", 45, 15, 16), ("blue", "square", 15, 45, 46))
RIGHT_PROMPT = "a red circle moving left and a blue square moving right"


@pytest.mark.parametrize(
    ("prompt", "right"),
    [
        (RIGHT_PROMPT, 1),
        ("the blue square moving right, the red circle moving left", 1),
        ("a red square moving left and a blue circle moving right", 0),
        ("a red circle moving right and a blue square moving left", 0),
        ("a blue circle moving left and a red square moving right", 0),
        ("a red circle moving left and a green square moving right", 0),
        ("a red circle moving left and a blue square moving up", 0),
    ],
)
def test_each_of_two_objects_is_bound_to_its_colour(prompt, right):
    assert accuracy(painted(*TWO), [prompt]) == right


def test_an_attribute_of_two_objects_is_right_where_it_is_of_both():
    wrong = "a red circle moving left and a blue square moving up"
    scores = score_clips(np.repeat(painted(*TWO), 4, axis=0), [RIGHT_PROMPT] * 3 + [wrong])
    motion = scores.per_attribute["motion"]
    assert (motion.right, motion.right_interval) == (0.75, wilson_interval(3, 4))
    assert motion.confusion == {"left": {"left": 4}, "right": {"right": 3}, "up": {"right": 1}}


def test_the_spread_of_two_objects_is_that_of_each():
    first, (colour, shape, start, end, y) = TWO
    moved = [painted(first, (colour, shape, start + d, end + d, y)) for d in (0, 0, 4, 4)]
    spread = score_clips(np.concatenate(moved), [RIGHT_PROMPT] * 4).spread
    variance = (0 + 0 + 16 / 3 + 0) / 4  # x and y of the first, then of the second: their mean
    assert spread.start == pytest.approx(np.sqrt(variance) / 64, rel=0.05)


def test_two_real_objects_with_their_motions_or_shapes_swapped_are_wrong():
    clips = render(shapes_two, 150)
    for swapped in (1, 2):
        prompts, chosen = [], []
        for clip, prompt in enumerate(clips.prompts):
            first, second = map(list, shapes_two.parse(prompt))
            if first[swapped] != second[swapped]:
                first[swapped], second[swapped] = second[swapped], first[swapped]
                prompts.append(shapes_two.write(tuple(first), tuple(second), "a {} and a {}"))
                chosen.append(clip)
        assert len(chosen) > 100
        assert accuracy(clips.frames[chosen], prompts) == 0


@pytest.mark.parametrize(
    "objects",
    [
        TWO[:1],
        (*TWO, ("green", "star", 30, 30, 31)),
        (TWO[0], ("red", "square", 15, 45, 46)),
        (TWO[0], ("blue", "square", 45, 15, 22)),
    ],
    ids=["one missing", "a third", "one colour", "touching all the time"],
)
def test_more_fewer_or_merged_objects_are_wrong(objects):
    prompts = [RIGHT_PROMPT, "a red circle moving left and a blue square moving left"]
    assert accuracy(np.repeat(painted(*objects), 2, axis=0), prompts) == 0


def test_three_objects_are_not_the_two_they_contain():
    scores = score_clips(painted(*TWO, ("green", "star", 30, 30, 31)), [RIGHT_PROMPT])
    assert scores.one_object == 0
    assert score_clips(painted(*TWO), [RIGHT_PROMPT]).one_object == 1


def test_binding_needs_as_many_objects_as_expected():
    red, blue = {"colour": "red", "motion": "up"}, {"colour": "blue", "motion": "down"}
    assert match_objects([blue, red], [red, blue]) == [blue, red]
    assert match_objects([{"colour": "green"}, red], [red, blue]) == [{}, red]
    assert match_objects([blue, red], [red]) == [{}, {}]
    assert match_objects([{"motion": "up"}], [red]) == [red]
    assert match_objects([{"motion": "up"}], [red, blue]) == [{}]


def test_a_clip_of_one_object_has_no_further_track():
    assert track(painted(TWO[0])).objects[1:] == ()
