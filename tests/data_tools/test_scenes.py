"""The scenes show what their prompts say, measured from the pixels."""

import hashlib
import itertools
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from data_tools.build.scene_build import BuildPlan
from data_tools.build_shards import build
from data_tools.scenes import circles, notebook, shapes, shapes_textured, shapes_two
from data_tools.scenes.base import clip_numbers
from data_tools.scenes.drawing import COLOURS, SHAPES, blank, draw_objects
from data_tools.scenes.textures import textures
from t2vgan.data.shards import Geometry, load_manifest

GEOMETRY = Geometry(num_frames=10, height=64, width=64)
WIDE = Geometry(num_frames=16, height=48, width=80)
CLIPS_PER_PROMPT = 60
DIRECTIONS = {"up": (0, -1), "down": (0, 1), "left": (-1, 0), "right": (1, 0)}
MOVING = [p for p in circles.PROMPTS if "moving" in p]


def render(prompt: str, geometry: Geometry = GEOMETRY, seed: int = 5) -> circles.RenderedClips:
    prompts = [prompt] * CLIPS_PER_PROMPT
    return circles.render_clips(range(CLIPS_PER_PROMPT), seed, geometry, prompts=prompts)


def measure(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the blue's centroid x, y and area per frame, (N, T)."""
    blue = (255.0 - frames[..., 0]) / 255
    area = blue.sum(axis=(2, 3))
    x = (blue * np.arange(frames.shape[3])).sum(axis=(2, 3)) / area
    y = (blue * np.arange(frames.shape[2])[:, None]).sum(axis=(2, 3)) / area
    return x, y, area


def num_reversals(path: np.ndarray) -> np.ndarray:
    """Count how often paths (N, T) reverse, ignoring steps under 0.5 pixels."""
    counts = []
    for steps in np.diff(path, axis=1):
        signs = np.sign(steps[np.abs(steps) > 0.5])
        counts.append(int((signs[1:] != signs[:-1]).sum()))
    return np.array(counts)


def direction_of(prompt: str) -> np.ndarray:
    words = prompt.split()[-1].split("-")
    return np.sum([DIRECTIONS[adverb] for adverb in words], axis=0)


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


@pytest.mark.parametrize(("adverb", "axis"), [("horizontally", 0), ("vertically", 1)])
def test_bouncing_turns_round_along_its_axis_only(adverb, axis):
    x, y, _ = measure(render(f"circle bouncing {adverb}").frames)
    along, across = (x, y) if axis == 0 else (y, x)
    assert np.abs(across - across[:, :1]).max() < 0.3
    assert (num_reversals(along) >= 1).all()
    assert (np.ptp(along, axis=1) > 18).all()


@pytest.mark.parametrize(("adverb", "axis"), [("horizontally", 0), ("vertically", 1)])
def test_zigzagging_advances_along_its_axis_and_alternates_across_it(adverb, axis):
    clips = render(f"circle zigzagging {adverb}")
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


def test_a_clip_depends_on_its_index_and_the_seed_only():
    together = circles.render_clips(range(20), 7, GEOMETRY)
    single = circles.render_clips([13], 7, GEOMETRY)
    np.testing.assert_array_equal(single.frames[0], together.frames[13])
    assert single.prompts[0] == together.prompts[13]
    assert single.attributes[0] == together.attributes[13]
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
    frames = blank(1, 1, height=30, width=40)
    circle = (np.array([[[x, y]]]), np.array([[radius]]), ["circle"], ["blue"])
    draw_objects(frames, *circle, on_white=True)
    frame = frames[0, 0]
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


# --- Moving Shapes ------------------------------------------------------------------------------

ALL_SHAPES = [shapes, shapes_textured, shapes_two]


def draw(shape: str, *, x: float = 32.3, y: float = 30.8, radius: float = 9, colour: str = "black"):
    frames = blank(1, 1, height=64, width=64)
    draw_objects(frames, np.array([[[x, y]]]), np.array([[radius]]), [shape], [colour])
    return frames[0, 0]


@pytest.mark.parametrize("radius", [4.5, 7, 12])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_shape_has_the_area_of_the_disc(shape, radius):
    assert (255.0 - draw(shape, radius=radius)[..., 0]).sum() / 255 == pytest.approx(
        np.pi * radius**2, rel=0.03
    )


def test_triangle_and_star_point_up():
    for shape in ("triangle", "star"):
        rows = np.flatnonzero((draw(shape, x=32, y=32) < 128).any(axis=(1, 2)))
        widths = (draw(shape, x=32, y=32)[rows, :, 0] < 128).sum(axis=1)
        assert widths[0] <= 2 < widths[-2]


@pytest.mark.parametrize("colour", COLOURS)
def test_a_colour_is_exact_inside_and_blends_with_what_is_beneath(colour):
    assert tuple(draw("square", colour=colour)[31, 32]) == COLOURS[colour]
    x, y = 20.5, 20.0
    under = np.full((1, 1, 40, 40, 3), (200, 100, 40), np.uint8)
    draw_objects(under, np.array([[[x, y]]]), np.array([[9.0]]), ["circle"], [colour])
    for row, column in itertools.product(range(40), range(40)):
        coverage = min(max(9.5 - np.hypot(column - x, row - y), 0), 1)
        expected = np.array((200, 100, 40)) * (1 - coverage) + np.array(COLOURS[colour]) * coverage
        assert np.abs(under[0, 0, row, column] - expected).max() <= 255 / 30 + 0.5


@given(x=st.floats(-40, 80), y=st.floats(-40, 80), shape=st.sampled_from(list(SHAPES)))
@settings(max_examples=40, deadline=None)
def test_drawing_over_white_and_on_white_is_the_same(x, y, shape):
    pictures = []
    for on_white in (False, True):
        frames = blank(1, 1, height=40, width=48)
        place = (frames, np.array([[[x, y]]]), np.array([[6.7]]), [shape], ["orange"])
        draw_objects(*place, on_white=on_white)
        pictures.append(frames)
    np.testing.assert_array_equal(*pictures)


def test_the_split_holds_out_15_percent_and_keeps_every_pair_of_values_in_training():
    training, held_out = shapes.split_compositions()
    assert len(training) + len(held_out) == 5 * 8 * 2 * 16
    assert len(held_out) == 192
    assert not set(training) & set(held_out)
    values = (shapes.SHAPES, shapes.COLOURS, shapes.SIZES, shapes.MOTIONS)
    for one, other in itertools.combinations(range(4), 2):
        seen = {(c[one], c[other]) for c in training}
        assert seen == set(itertools.product(values[one], values[other]))


def test_the_split_of_two_keeps_every_look_and_every_pair_of_values():
    training, held_out = shapes_two.split_pairs()
    assert (len(training), len(held_out)) == (595, 105)
    assert not set(training) & set(held_out)
    looks = set(itertools.product(COLOURS, SHAPES))
    assert {look for pair in training for look in pair} == looks

    def pairs(split):
        return {frozenset(two) for a, b in split for two in itertools.product(a, b)}

    assert pairs(training) == pairs([*training, *held_out])


@pytest.mark.parametrize("scene", ALL_SHAPES, ids=lambda s: s.__name__)
def test_the_data_show_no_held_out_composition(scene):
    tiny = Geometry(num_frames=1, height=16, width=16)
    clips = scene.render_clips(range(3000), 0, tiny)
    held_out = set(scene.HELD_OUT_PROMPTS)
    assert held_out
    assert not held_out & set(clips.prompts)
    if scene is shapes_two:
        looks = {frozenset(o[:2] for o in shapes_two.parse(p)) for p in clips.prompts}
        hidden = {frozenset(o[:2] for o in shapes_two.parse(p)) for p in held_out}
        assert hidden == {frozenset(pair) for pair in shapes_two.HELD_OUT}
        assert not looks & hidden
    else:
        held = set(shapes.HELD_OUT)
        assert not held & {shapes.COMPOSITIONS[prompt] for prompt in clips.prompts}


@pytest.mark.parametrize("scene", ALL_SHAPES, ids=lambda s: s.__name__)
def test_shapes_depend_on_index_and_seed_and_show_their_prompt(scene):
    together = scene.render_clips(range(12), 7, WIDE)
    single = scene.render_clips([9], 7, WIDE)
    np.testing.assert_array_equal(single.frames[0], together.frames[9])
    assert (single.prompts[0], single.attributes[0]) == (
        together.prompts[9],
        together.attributes[9],
    )
    for prompt, attributes in zip(together.prompts, together.attributes, strict=True):
        for drawn in attributes.get("objects", [attributes]):
            assert all(drawn[name] in prompt for name in ("shape", "colour", "motion"))


def test_textures_are_still_smooth_faint_and_different():
    ground = textures(range(50), 3, GEOMETRY).astype(int)
    assert ground.min() >= 170
    assert np.abs(np.diff(ground, axis=1)).max() <= 12
    assert np.abs(np.diff(ground, axis=2)).max() <= 12
    assert (ground.std(axis=(1, 2)) > 2).all()
    assert len({clip.tobytes() for clip in ground}) == 50
    clips = shapes_textured.render_clips(range(50), 3, GEOMETRY)
    plain = shapes.render_clips(range(50), 3, GEOMETRY)
    away = (plain.frames == 255).all(axis=-1)
    still = np.broadcast_to(ground[:, None], clips.frames.shape)
    np.testing.assert_array_equal(clips.frames[away], still[away])
    assert clips.prompts == plain.prompts


def test_two_objects_seldom_touch_and_stay_in_view():
    attributes = shapes_two.render_clips(range(1000), 1, GEOMETRY).attributes
    starts = np.array([[(o["start_x"], o["start_y"]) for o in a["objects"]] for a in attributes])
    assert (starts >= 0).mean() > 0.999
    assert (starts <= 63).mean() > 0.999
    distance = np.linalg.norm(starts[:, 0] - starts[:, 1], axis=-1)
    assert (distance > 10).mean() > 0.99


@pytest.mark.parametrize("scene", ["shapes", "shapes-textured", "shapes-two"])
def test_a_build_of_shapes_names_its_split(scene, tmp_path):
    build(BuildPlan(scene, 30, 20, Geometry(num_frames=4, height=32, width=32), 0), tmp_path,
          num_workers=1)  # fmt: skip
    manifest = load_manifest(tmp_path)
    assert manifest.num_samples == 30
    module = {"shapes": shapes, "shapes-textured": shapes_textured, "shapes-two": shapes_two}[scene]
    assert manifest.held_out_prompts == module.HELD_OUT_PROMPTS


def test_circles_are_the_bytes_they_always_were():
    clips = circles.render_clips(range(500), 7, GEOMETRY)
    assert circles.VERSION == "2"
    content = clips.frames.tobytes() + repr((clips.prompts, clips.attributes)).encode()
    assert hashlib.sha256(content).hexdigest() == (
        "2cbc0e96b0daaf6ee281d8f825965ee95fd2b339cc3848b8517897ca51b5edc3"
    )
