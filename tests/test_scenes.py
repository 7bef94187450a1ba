"""The scenes show what their prompts say, measured from the pixels."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from data_tools.scenes import circles, clip_numbers, notebook
from data_tools.scenes.drawing import draw_discs
from t2vgan.shards import Geometry

GEOMETRY = Geometry(num_frames=10, height=64, width=64)
WIDE = Geometry(num_frames=16, height=48, width=80)
CLIPS_PER_PROMPT = 60
DIRECTIONS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
MOVING = [p for p in circles.PROMPTS if "moving" in p]


def render(prompt: str, geometry: Geometry = GEOMETRY, seed: int = 5) -> circles.RenderedClips:
    prompts = [prompt] * CLIPS_PER_PROMPT
    return circles.render_clips(range(CLIPS_PER_PROMPT), seed, geometry, prompts=prompts)


def measure(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centroid x, centroid y and area of the blue in every frame, each (N, T)."""
    blue = (255.0 - frames[..., 0]) / 255
    area = blue.sum(axis=(2, 3))
    x = (blue * np.arange(frames.shape[3])).sum(axis=(2, 3)) / area
    y = (blue * np.arange(frames.shape[2])[:, None]).sum(axis=(2, 3)) / area
    return x, y, area


def num_reversals(path: np.ndarray) -> np.ndarray:
    """Return how often each path (N, T) turns round; steps under half a pixel do not count."""
    counts = []
    for steps in np.diff(path, axis=1):
        signs = np.sign(steps[np.abs(steps) > 0.5])
        counts.append(int((signs[1:] != signs[:-1]).sum()))
    return np.array(counts)


def direction_of(prompt: str) -> np.ndarray:
    words = prompt.split()[-1].split("-")
    return np.sum([DIRECTIONS[word] for word in words], axis=0)


@pytest.mark.parametrize("geometry", [GEOMETRY, WIDE], ids=["64x64", "48x80"])
@pytest.mark.parametrize("prompt", MOVING)
def test_moving_is_monotone_and_straight_in_the_named_direction(prompt, geometry):
    x, y, _ = measure(render(prompt, geometry).frames)
    scale = min(geometry.height, geometry.width) / 64
    for path, sign in zip((x, y), direction_of(prompt), strict=True):
        if sign == 0:
            assert np.abs(path - path[:, :1]).max() < 0.3
        else:
            assert (sign * np.diff(path, axis=1) > 1).all()
            travelled = sign * (path[:, -1] - path[:, 0])
            # The disc may dip out of the frame at an end, which holds its centroid back.
            assert (travelled > 23 * scale).all()
            assert (travelled < 40.3 * scale).all()


@pytest.mark.parametrize(("prompt", "sense"), [("clockwise", 1), ("counter-clockwise", -1)])
def test_rotating_orbits_the_middle_as_seen_on_the_screen(prompt, sense):
    x, y, _ = measure(render(f"circle rotating {prompt}").frames)
    dx, dy = x - 31.5, y - 31.5
    radius = np.hypot(dx, dy)
    assert np.ptp(radius, axis=1).max() < 0.5
    assert radius.min() > 12.5
    assert radius.max() < 18.5
    # On a screen (y down) clockwise is from three o'clock to six: the angle atan2(y, x) grows.
    turns = sense * np.diff(np.unwrap(np.arctan2(dy, dx), axis=1), axis=1) / (2 * np.pi)
    assert (turns > 0).all()
    assert (turns.sum(axis=1) > 0.99).all()
    assert (turns.sum(axis=1) < 1.26).all()


@pytest.mark.parametrize(("word", "axis"), [("horizontally", 0), ("vertically", 1)])
def test_bouncing_turns_round_along_its_axis_only(word, axis):
    x, y, _ = measure(render(f"circle bouncing {word}").frames)
    along, across = (x, y) if axis == 0 else (y, x)
    assert np.abs(across - across[:, :1]).max() < 0.3
    assert (num_reversals(along) >= 1).all()
    assert (np.ptp(along, axis=1) > 18).all()


@pytest.mark.parametrize(("word", "axis"), [("horizontally", 0), ("vertically", 1)])
def test_zigzagging_advances_along_its_axis_and_alternates_across_it(word, axis):
    clips = render(f"circle zigzagging {word}")
    x, y, _ = measure(clips.frames)
    along, across = (x, y) if axis == 0 else (y, x)
    assert (np.diff(along, axis=1) > 1).all()
    assert (num_reversals(across) >= 3).all()
    phases = [attributes["phase_legs"] for attributes in clips.attributes]
    assert np.ptp(phases) > 0.1, "the phase is drawn"


@pytest.mark.parametrize(("prompt", "sense"), [("shrinking", -1), ("expanding", 1)])
def test_resizing_changes_the_area_steadily(prompt, sense):
    x, y, area = measure(render(f"circle {prompt}").frames)
    assert (sense * np.diff(area, axis=1) > 0).all()
    ratio = area[:, -1] / area[:, 0]
    assert (ratio**sense >= 2.5).all()
    assert np.abs(x - x[:, :1]).max() < 0.3
    assert np.abs(y - y[:, :1]).max() < 0.3


@pytest.mark.parametrize("prompt", circles.PROMPTS)
def test_clips_of_one_prompt_differ_and_start_where_they_say(prompt):
    clips = render(prompt)
    assert len({clip.tobytes() for clip in clips.frames}) == CLIPS_PER_PROMPT
    x, y, area = measure(clips.frames)
    for index, attributes in enumerate(clips.attributes):
        assert attributes["motion"] == prompt.removeprefix("circle ")
        touches_edge = (clips.frames[index, 0, [0, -1]] < 255).any() or (
            clips.frames[index, 0][:, [0, -1]] < 255
        ).any()
        if not touches_edge:
            assert x[index, 0] == pytest.approx(attributes["start_x"], abs=0.1)
            assert y[index, 0] == pytest.approx(attributes["start_y"], abs=0.1)
            if "radius" in attributes:
                assert area[index, 0] == pytest.approx(np.pi * attributes["radius"] ** 2, rel=0.03)


def test_colours_are_blue_on_white():
    frames = circles.render_clips(range(40), 0, GEOMETRY).frames
    assert (frames[..., 2] == 255).all()
    assert (frames[..., 0] == frames[..., 1]).all()
    assert {0, 255} <= set(np.unique(frames[..., 0])), "a full disc on a full background"


def test_motion_is_a_function_of_clip_time_not_of_the_number_of_frames():
    few = circles.render_clips(range(30), 3, Geometry(num_frames=5, height=64, width=64)).frames
    many = circles.render_clips(range(30), 3, Geometry(num_frames=9, height=64, width=64)).frames
    np.testing.assert_array_equal(few, many[:, ::2])


def test_a_clip_depends_on_its_index_and_the_seed_alone():
    together = circles.render_clips(range(20), 7, GEOMETRY)
    alone = circles.render_clips([13], 7, GEOMETRY)
    np.testing.assert_array_equal(alone.frames[0], together.frames[13])
    assert alone.prompts[0] == together.prompts[13]
    assert alone.attributes[0] == together.attributes[13]
    other_seed = circles.render_clips(range(20), 8, GEOMETRY)
    assert not np.array_equal(other_seed.frames, together.frames)


@pytest.mark.parametrize("scene", [circles, notebook])
def test_prompts_are_drawn_uniformly(scene):
    tiny = Geometry(num_frames=1, height=8, width=8)
    counts = Counter(scene.render_clips(range(9000), 0, tiny).prompts)
    assert set(counts) == set(scene.PROMPTS)
    assert max(abs(count - 500) for count in counts.values()) < 5 * np.sqrt(500)


def test_held_out_prompt_is_never_rendered():
    assert circles.HELD_OUT_PROMPTS == ("circle moving up-right",)
    assert not set(circles.HELD_OUT_PROMPTS) & set(circles.PROMPTS)
    assert circles.PROMPTS == notebook.PROMPTS


def test_clip_numbers_are_separate_streams():
    numbers = clip_numbers(range(500), 0, "a")
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert len(np.unique(numbers)) == numbers.size, "clips do not share numbers"
    assert abs(numbers.mean() - 0.5) < 0.02
    assert not np.isin(numbers, clip_numbers(range(500), 1, "a")).any()


@given(
    x=st.floats(-30, 70),
    y=st.floats(-30, 60),
    radius=st.floats(0.5, 20),
)
@settings(max_examples=100, deadline=None)
def test_discs_equal_a_plain_loop_over_pixels(x, y, radius):
    frame = draw_discs(np.array([[[x, y]]]), np.array([[radius]]), height=30, width=40)[0, 0]
    for row in range(0, 30, 3):
        for column in range(40):
            distance = np.hypot(column - x, row - y)
            coverage = min(max(radius + 0.5 - distance, 0), 1)
            assert abs(frame[row, column, 0] - 255 * (1 - coverage)) <= 9.5


# Worked out by hand from the published formulas (f = 0, 1, 2, 3, 6, 9 of a 64x64 clip): the
# circle's centre, (32, 32) plus the offset with Python's modulo.
FRAMES = (0, 1, 2, 3, 6, 9)
FORWARD = (32, 37, 42, 47, 62, 77)  # 32 + 5f % 64
BACKWARD = (32, 91, 86, 81, 66, 51)  # 32 + -5f % 64: wrapped, so it comes in from the far side
STILL = (32,) * 6
BOUNCE = (32, 37, 42, 47, 62, 51)  # 32 + 32 - |5f % 64 - 32|: turns round after frame 6
ZIGZAG = (64, 69, 54, 79, 34, 109)  # 32 + 32 -/+ 5f % 64 on even/odd frames
MIDDLE_TWICE = (64,) * 6  # 32 + 32: the horizontal zigzag's other axis
PUBLISHED = {
    "circle moving down": (STILL, FORWARD),
    "circle moving left": (BACKWARD, STILL),
    "circle moving right": (FORWARD, STILL),
    "circle moving diagonally up-right": (FORWARD, BACKWARD),
    "circle moving diagonally down-left": (BACKWARD, FORWARD),
    "circle moving diagonally up-left": (BACKWARD, BACKWARD),
    "circle moving diagonally down-right": (FORWARD, FORWARD),
    "circle rotating clockwise": (STILL, STILL),
    "circle rotating counter-clockwise": (STILL, STILL),
    "circle shrinking": (STILL, STILL),
    "circle expanding": (STILL, STILL),
    "circle bouncing vertically": (STILL, BOUNCE),
    "circle bouncing horizontally": (BOUNCE, STILL),
    "circle zigzagging vertically": (STILL, ZIGZAG),
    "circle zigzagging horizontally": (ZIGZAG, MIDDLE_TWICE),
    "circle moving up-left": (BACKWARD, BACKWARD),
    "circle moving down-right": (FORWARD, FORWARD),
    "circle moving down-left": (BACKWARD, FORWARD),
}


@pytest.mark.parametrize("prompt", notebook.PROMPTS)
def test_notebook_positions_and_pixels_are_the_published_ones(prompt):
    clip = notebook.render_clips([0], 0, GEOMETRY, prompts=[prompt]).frames[0]
    for frame, x, y in zip(FRAMES, *PUBLISHED[prompt], strict=True):
        assert notebook.centre(prompt, frame, height=64, width=64) == (x, y)
        image = Image.new("RGB", (64, 64), (255, 255, 255))
        ImageDraw.Draw(image).ellipse([x - 5, y - 5, x + 5, y + 5], fill=(0, 0, 255))
        np.testing.assert_array_equal(clip[frame], np.asarray(image))


def test_notebook_table_covers_every_prompt():
    assert set(PUBLISHED) == set(notebook.PROMPTS)
    assert len(PUBLISHED) == 18
