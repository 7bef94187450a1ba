"""Classify motions of real, imperfect and wrong clips."""

import cv2
import numpy as np
import pytest

from data_tools.scenes import circles
from t2vgan.data.shards import Geometry
from t2vgan.evaluation.prompt_accuracy.motion import (
    classify_motion,
    classify_tracks,
    expected_motion,
)
from t2vgan.evaluation.prompt_accuracy.object_paths import track
from t2vgan.evaluation.prompt_accuracy.prompts import unknown_prompts
from tests.support.painting import TIME, paint

EVERY_MOTION = {
    "up", "down", "left", "right", "up-left", "up-right", "down-left", "down-right",
    "rotating clockwise", "rotating counter-clockwise", "shrinking", "expanding",
    "bouncing vertically", "bouncing horizontally",
    "zigzagging vertically", "zigzagging horizontally",
}  # fmt: skip


def real_clips(num_clips, *, seed=0, num_frames=10, height=64, width=64):
    geometry = Geometry(num_frames=num_frames, height=height, width=width)
    return circles.render_clips(range(num_clips), seed, geometry)


def motion_of(clip):
    (motion,) = classify_motion(clip[None])
    return motion


def share_right(frames, prompts):
    motions = classify_motion(frames)
    return np.mean([expected_motion(p) == m for p, m in zip(prompts, motions, strict=True)])


# --- what a prompt asks for ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "motion"),
    [
        ("circle moving up", "up"),
        ("circle moving diagonally up-right", "up-right"),
        ("Circle moving RIGHT up", "up-right"),
        ("the circle rotating counter-clockwise", "rotating counter-clockwise"),
        ("circle zigzagging horizontally", "zigzagging horizontally"),
        ("circle moving up-down", None),
        ("circle moving", None),
        ("circle bouncing", None),
        ("circle bouncing vertically horizontally", None),
        ("red circle moving up", None),
        ("", None),
    ],
)
def test_a_prompt_asks_for_one_motion_or_is_unknown(prompt, motion):
    assert expected_motion(prompt) == motion


def test_the_prompts_of_the_scenes_ask_for_every_motion():
    prompts = [*circles.PROMPTS, *circles.HELD_OUT_PROMPTS]
    assert {expected_motion(prompt) for prompt in prompts} == EVERY_MOTION - {"up"}
    assert unknown_prompts([*prompts, "a dog", "a cat", "a dog"]) == ["a dog", "a cat"]


# --- real clips: the ceiling --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("num_clips", "num_frames", "height", "width", "least"),
    [(1000, 10, 64, 64, 0.995), (600, 16, 64, 64, 0.99), (1000, 10, 32, 48, 0.99),
     (120, 24, 128, 128, 0.99)],
)  # fmt: skip
def test_the_ceiling_on_real_clips(num_clips, num_frames, height, width, least):
    clips = real_clips(num_clips, seed=11, num_frames=num_frames, height=height, width=width)
    assert share_right(clips.frames, clips.prompts) >= least
    assert track(clips.frames).is_single.all()


def blurred(frames, sigma):
    flat = frames.reshape(-1, *frames.shape[2:])
    return np.stack([cv2.GaussianBlur(f, (0, 0), sigma) for f in flat]).reshape(frames.shape)


def noisy(frames, levels):
    noise = np.random.default_rng(0).integers(-levels, levels + 1, frames.shape)
    return np.clip(frames + noise, 0, 255).astype(np.uint8)


def shaken(frames, pixels):
    shifts = np.random.default_rng(0).integers(-pixels, pixels + 1, (*frames.shape[:2], 2))
    moved = [np.roll(f, s, (0, 1)) for f, s in zip(
        frames.reshape(-1, *frames.shape[2:]), shifts.reshape(-1, 2), strict=True)]  # fmt: skip
    return np.stack(moved).reshape(frames.shape)


def with_lost_frames(frames, share):
    lost = np.random.default_rng(0).random(frames.shape[:2]) < share
    return np.where(lost[..., None, None, None], np.uint8(255), frames)


@pytest.mark.parametrize(
    "spoil",
    {
        "blurred": lambda frames: blurred(frames, 1.5),
        "noisy": lambda frames: noisy(frames, 8),
        "darker": lambda frames: (frames * 0.85).astype(np.uint8),
        "tinted": lambda frames: np.clip(frames + np.int16([-20, -5, -12]), 0, 255).astype("u1"),
        "pale": lambda frames: 255 - ((255 - frames) * 0.6).astype(np.uint8),
        "shaken": lambda frames: shaken(frames, 1),
        "all of it": lambda frames: noisy(blurred(shaken(frames, 1), 0.8), 8),
        "one frame in ten lost": lambda frames: with_lost_frames(frames, 0.1),
    }.items(),
    ids=lambda item: item[0],
)
def test_imperfect_clips_are_still_right(spoil):
    clips = real_clips(300, seed=5)
    frames = spoil[1](clips.frames)
    assert frames.dtype == np.uint8
    assert share_right(frames, clips.prompts) >= 0.98


# --- symmetries: every sign and every axis ------------------------------------------------------

MIRROR = {"left": "right", "right": "left", "clockwise": "counter-clockwise",
          "counter-clockwise": "clockwise"}  # fmt: skip
FLIP = {"up": "down", "down": "up", "clockwise": "counter-clockwise",
        "counter-clockwise": "clockwise"}  # fmt: skip
BACKWARDS = MIRROR | FLIP | {"shrinking": "expanding", "expanding": "shrinking"}
TRANSPOSE = {
    "up": "left", "down": "right", "left": "up", "right": "down",
    "vertically": "horizontally", "horizontally": "vertically",
    "clockwise": "counter-clockwise", "counter-clockwise": "clockwise",
}  # fmt: skip


def translate(motion, words):
    if motion.startswith("rotating"):
        kind, _, sense = motion.partition(" ")
        return f"{kind} {words.get(sense, sense)}"
    if "-" in motion:
        first, second = (words.get(part, part) for part in motion.split("-"))
        return f"{first}-{second}" if first in ("up", "down") else f"{second}-{first}"
    return " ".join(words.get(part, part) for part in motion.split())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frames: frames[:, :, :, ::-1], MIRROR),
        (lambda frames: frames[:, :, ::-1], FLIP),
        (lambda frames: frames.swapaxes(2, 3), TRANSPOSE),
        (lambda frames: frames[:, ::-1], BACKWARDS),
        (lambda frames: frames[..., ::-1], {}),
        (lambda frames: 255 - frames, {}),
    ],
    ids=["mirror", "flip", "transpose", "backwards", "red for blue", "negative"],
)
def test_a_changed_clip_shows_the_changed_motion(change, words):
    clips = real_clips(400, seed=8)
    wanted = [translate(motion, words) for motion in classify_motion(clips.frames)]
    assert set(wanted) <= EVERY_MOTION
    assert len(set(wanted)) == 15
    assert classify_motion(np.ascontiguousarray(change(clips.frames))) == wanted


def test_signs_by_hand():
    """y grows downwards, and clockwise goes right, down, left, up."""
    turn = 2 * np.pi * TIME
    assert motion_of(paint(10 + 40 * TIME, 32)) == "right"
    assert motion_of(paint(32, 10 + 40 * TIME)) == "down"
    assert motion_of(paint(10 + 40 * TIME, 50 - 40 * TIME)) == "up-right"
    clockwise = paint(32 + 15 * np.cos(turn), 32 + 15 * np.sin(turn))
    assert clockwise[2, 40:, 32:].min() == 0, "from the right it goes down first"
    assert motion_of(clockwise) == "rotating clockwise"
    assert motion_of(paint(32, 32, 10 - 6 * TIME)) == "shrinking"
    bounce = 14 + 36 * np.abs(2 * TIME - 1)
    assert motion_of(paint(30, bounce)) == "bouncing vertically"
    sides = 32 + 6 * np.array([-1, 0, 1, 0, -1, 0, 1, 0, -1, 0])
    assert motion_of(paint(sides, 14 + 35 * TIME)) == "zigzagging vertically"


def test_leaving_the_frame_is_not_shrinking():
    clip = paint(34 + 36 * TIME, 32, 6.0)
    assert 5 * (clip[8] < 255).sum() < 2 * (clip[0] < 255).sum()
    assert motion_of(clip) == "right"


# --- what must not pass -------------------------------------------------------------------------

HALF_TURN = np.pi * TIME
NOT_A_MOTION = {
    "empty": np.full((10, 64, 64, 3), 255, np.uint8),
    "at rest": paint(np.full(10, 30), 30),
    "noise": np.random.default_rng(0).integers(0, 256, (10, 64, 64, 3), dtype=np.uint8),
    "too faint to see": paint(10 + 40 * TIME, 32, colour=(255, 255, 190)),
    "a speck": paint(10 + 40 * TIME, 32, 1.0),
    "two objects": np.minimum(paint(10 + 40 * TIME, 18), paint(10 + 40 * TIME, 44)),
    "two that touch": np.minimum(paint(10 + 40 * TIME, 27), paint(10 + 40 * TIME, 36)),
    "too slow": paint(25 + 14 * TIME, 32),
    "a leap": paint(np.where(TIME < 0.5, 12, 52), 32),
    "late": paint(10 + 40 * np.clip(3 * TIME - 2, 0, 1), 32),
    "round a corner": paint(
        10 + 40 * np.clip(2 * TIME, 0, 1), 10 + 40 * np.clip(2 * TIME - 1, 0, 1)
    ),
    "neither right nor down-right": paint(10 + 40 * TIME, 25 + 14 * TIME),
    "half a turn": paint(32 + 15 * np.cos(HALF_TURN), 32 + 15 * np.sin(HALF_TURN)),
    "to and fro on an orbit": paint(
        32 + 15 * np.cos(4 * HALF_TURN * (1 - TIME)), 32 + 15 * np.sin(4 * HALF_TURN * (1 - TIME))
    ),
    "an orbit off the middle": paint(
        20 + 12 * np.cos(2 * HALF_TURN), 44 + 12 * np.sin(2 * HALF_TURN)
    ),
    "turns and shrinks": paint(
        32 + 15 * np.cos(2 * HALF_TURN), 32 + 15 * np.sin(2 * HALF_TURN), 9 - 5 * TIME
    ),
    "leaps to and fro": paint(np.where(np.abs(TIME - 0.5) < 0.2, 50, 14), 32),
    "moves and shrinks": paint(12 + 40 * TIME, 32, 9 - 5 * TIME),
    "shrinks by a tenth": paint(32, 32, 10 - 0.5 * TIME),
    "shrinks at once": paint(32, 32, np.where(TIME < 0.5, 10, 4)),
    "shakes": paint(32, 32 + 15 * (-1) ** np.arange(10)),
}  # fmt: skip


@pytest.mark.parametrize("clip", NOT_A_MOTION.values(), ids=NOT_A_MOTION)
def test_nothing_else_passes(clip):
    assert motion_of(clip) == "none"


@pytest.mark.parametrize(("num_lost", "motion"), [(4, "right"), (5, "none")])
def test_the_object_must_be_in_view_in_sixty_percent_of_the_frames(num_lost, motion):
    clip = paint(10 + 40 * TIME, 32)
    clip[1 : 1 + num_lost] = 255
    assert motion_of(clip) == motion


def test_a_frame_with_two_objects_is_not_a_frame_in_view():
    clip = paint(10 + 40 * TIME, 32)
    clip[1:6, 5:12, 5:12] = 0
    assert motion_of(clip) == "none"


def test_frames_in_any_other_order_lose_their_direction():
    clips = real_clips(1000, seed=3)
    order = np.random.default_rng(0).random((1000, 10)).argsort(axis=1)
    motions = np.array(classify_tracks(track(clips.frames).reorder_frames(order)))
    directed = [motion for motion in EVERY_MOTION if not motion.startswith("bouncing")]
    assert np.isin(motions, directed).mean() <= 0.02
    shuffled = clips.frames[np.arange(1000)[:, None], order]
    assert classify_motion(shuffled) == motions.tolist()


@pytest.mark.parametrize("shape", [(2, 1, 64, 64, 3), (2, 2, 9, 5, 3), (1, 3, 1, 1, 3)])
def test_the_smallest_clips_are_no_trouble(shape):
    frames = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    assert classify_motion(frames) == ["none"] * shape[0]


@pytest.mark.parametrize("frames", [np.zeros((0, 4, 8, 8, 3), np.uint8), np.zeros((4, 8, 8, 3)),
                                    np.zeros((1, 4, 8, 8, 3), np.float32)])  # fmt: skip
def test_frames_of_another_shape_or_type_are_refused(frames):
    with pytest.raises(ValueError, match="uint8"):
        track(frames)
