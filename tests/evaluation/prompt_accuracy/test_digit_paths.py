"""Render Bouncing Digits, hold out prompts, and track and read the digits."""

import importlib.util
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

from data_tools.build.scene_build import BuildPlan
from data_tools.build_shards import build
from data_tools.scenes import digits
from t2vgan.checkpoint.weights import WeightsInfo, save_weights
from t2vgan.config import ClipGanConfig
from t2vgan.data import digit_glyphs as pictures
from t2vgan.data.shards import Geometry
from t2vgan.errors import UserError
from t2vgan.evaluation.prompt_accuracy.attributes import match_objects
from t2vgan.evaluation.prompt_accuracy.controls import measure_controls
from t2vgan.evaluation.prompt_accuracy.digit_paths import track_digits
from t2vgan.evaluation.prompt_accuracy.prompts import expected_objects
from t2vgan.evaluation.prompt_accuracy.select import select_tracker
from t2vgan.evaluation.scores import score_clips
from t2vgan.models import build_generator
from t2vgan.tokenizer import Vocabulary
from tests.support.warm import run_warm

ROOT = Path(__file__).parents[3]
GEOMETRY = Geometry(num_frames=16, height=64, width=64)
TINY = Geometry(num_frames=4, height=24, width=32)
BOTH = "digit 3 moving up and down and digit 7 moving left and right"


def render(prompts, *, side=64, seed=11):
    geometry = Geometry(num_frames=16, height=side, width=side)
    return digits.render_clips(range(len(prompts)), seed, geometry, prompts=prompts)


def accuracy(frames, prompts):
    return score_clips(frames, prompts).accuracy


# --- the pictures and the scene -----------------------------------------------------------------


def test_what_is_read_by_is_never_drawn_and_what_is_drawn_is_legible():
    drawn, kept = pictures._halves()
    assert len(drawn.digits) + len(kept.digits) == 1797
    both = np.stack([np.bincount(half.digits) for half in (drawn, kept)])
    assert np.abs(both[0] - both[1]).max() <= 1, "every digit is halved"
    legible = pictures.load_drawn_digits()
    assert np.bincount(legible.digits).min() >= 30
    assert (pictures.classify_digits(legible.ink) == legible.digits).all()
    known = {picture.tobytes() for picture in kept.ink}
    assert not known & {picture.tobytes() for picture in legible.ink}


def test_paper_and_blots_are_no_digit():
    blots = np.zeros((4, 64, 64), np.float32)
    blots[1, ::8, ::8] = 1
    blots[2, 22:42, 22:42] = 1
    blots[3, 30:34] = 1
    assert pictures.classify_digits(blots).tolist() == [-1] * 4
    assert pictures.classify_digits(blots[:0]).tolist() == []


def test_a_clip_depends_on_its_index_and_the_seed_only():
    wide = Geometry(num_frames=5, height=48, width=80)
    together, single = digits.render_clips(range(20), 7, wide), digits.render_clips([13], 7, wide)
    np.testing.assert_array_equal(single.frames[0], together.frames[13])
    assert (single.prompts[0], single.attributes[0]) == (
        together.prompts[13],
        together.attributes[13],
    )
    other = digits.render_clips(range(20), 8, wide)
    assert not np.array_equal(other.frames, together.frames)
    for prompt, attributes in zip(together.prompts, together.attributes, strict=True):
        objects = attributes.get("objects", [attributes])
        assert [(o["digit"], o["motion"]) for o in objects] == digits.parse(prompt)


def test_workers_do_not_change_a_byte(tmp_path):
    folders = []
    for workers in (1, 2):
        folders.append(tmp_path / str(workers))
        build(BuildPlan("digits", 24, 12, TINY, 3), folders[-1], num_workers=workers)
    one, two = (
        {file.name: file.read_bytes() for file in folder.glob("*.tar")} for folder in folders
    )
    assert len(one) == 2
    assert one == two


def test_the_split_hides_compositions_and_keeps_their_parts():
    prompts = digits.render_clips(range(4000), 0, Geometry(num_frames=1, height=8, width=8)).prompts
    assert (len(digits.HELD_OUT), len(digits.HELD_OUT_PAIRS)) == (21, 7)
    objects = [digits.parse(prompt) for prompt in prompts]
    shown = {one for named in objects for one in named}
    assert not shown & set(digits.HELD_OUT)
    pairs = {tuple(sorted(digit for digit, _ in named)) for named in objects if len(named) == 2}
    assert not pairs & set(digits.HELD_OUT_PAIRS)
    assert pairs == set(digits.TRAINING_PAIRS)
    assert {digit for digit, _ in shown} == set("0123456789")
    assert {motion for _, motion in shown} == set(digits.TRACED)
    counts = Counter(map(len, objects))
    assert abs(counts[1] - 2000) < 5 * np.sqrt(1000)
    assert not set(prompts) & set(digits.HELD_OUT_PROMPTS)


def test_without_scikit_learn_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for cached in (pictures._halves, pictures.load_drawn_digits):
        cached.cache_clear()
    with pytest.raises(UserError, match=r"t2vgan\[digits\]"):
        digits.render_clips(range(2), 0, TINY)
    with pytest.raises(UserError, match=r"t2vgan\[digits\]"):
        select_tracker([BOTH])


# --- the grammar --------------------------------------------------------------------------------


def test_every_prompt_is_understood():
    for prompt in digits.PROMPTS + digits.HELD_OUT_PROMPTS:
        named = [(digit, digits.TRACED[motion]) for digit, motion in digits.parse(prompt)]
        expected = expected_objects(prompt)
        assert expected is not None
        assert [(e["digit"], e["motion"]) for e in expected] == [
            (digit, motion.removeprefix("moving ")) for digit, motion in named
        ]


@pytest.mark.parametrize(
    "prompt",
    [
        "digit moving up",
        "3 moving up",
        "digit 12 moving up",
        "digit 3 7 moving up",
        "red digit 3 moving up",
        "digit 3 circle moving up",
        "digit 3 moving up and digit 3 moving down",
        "digit 3 moving up and a circle moving down",
        "digit 1 moving up and digit 2 moving up and digit 3 moving up",
        "digit 3",
    ],
)
def test_anything_else_is_unknown(prompt):
    assert expected_objects(prompt) is None


def test_two_digits_are_bound_by_what_they_are():
    three, seven = {"digit": "3", "motion": "up"}, {"digit": "7", "motion": "down"}
    assert match_objects([seven, three], [three, seven]) == [seven, three]
    assert match_objects([three], [three, seven]) == [{}]
    assert match_objects([{"digit": "8"}, seven], [three, seven]) == [{}, seven]


# --- tracking and reading -----------------------------------------------------------------------


@pytest.mark.parametrize(("side", "least"), [(64, 0.995), (32, 0.99)])
@pytest.mark.parametrize("name", ["PROMPTS_OF_ONE", "PROMPTS_OF_TWO", "HELD_OUT_PROMPTS"])
def test_real_clips_are_read_right(name, side, least):
    known = getattr(digits, name)
    prompts = [known[i % len(known)] for i in range(400)]
    assert accuracy(render(prompts, side=side).frames, prompts) >= least


@pytest.mark.parametrize("name", ["digit", "motion"])
def test_a_prompt_with_one_wrong_value_is_wrong(name):
    clips = digits.render_clips(range(200), 5, GEOMETRY)
    wrong = []
    for prompt in clips.prompts:
        (digit, motion), *rest = digits.parse(prompt)
        if name == "digit":
            others = [d for d in "0123456789" if d not in (digit, *(d for d, _ in rest))]
            digit = others[int(digit) % len(others)]
        else:
            motions = list(digits.TRACED)
            motion = motions[(motions.index(motion) + 1) % len(motions)]
        wrong.append(digits.write((digit, motion), *rest))
    assert accuracy(clips.frames, wrong) == 0


def test_two_digits_with_their_motions_swapped_are_wrong():
    prompts = ["digit 3 moving left and right and digit 6 moving up and down"] * 20
    frames = render(prompts).frames
    assert accuracy(frames, prompts) >= 0.95
    assert (
        accuracy(frames, ["digit 3 moving up and down and digit 6 moving left and right"] * 20) == 0
    )
    assert (
        accuracy(frames, ["digit 6 moving up and down and digit 3 moving left and right"] * 20)
        >= 0.95
    )


def test_one_digit_is_not_two_nor_two_one_nor_three_two():
    one, two = (
        "digit 3 moving up and down",
        "digit 3 moving up and down and digit 6 moving left and right",
    )
    singles, pairs = render([one] * 20).frames, render([two] * 20).frames
    assert accuracy(singles, [two] * 20) == 0
    assert accuracy(pairs, [one] * 20) == 0
    crowd = pairs.copy()
    crowd[:, :, 2:8, 2:8] = 0
    crowd[:, :, -8:-2, 2:8] = 0
    assert accuracy(crowd, [two] * 20) == 0
    assert score_clips(pairs, [two] * 20).one_object > 0.95


def test_touching_and_missing_digits_are_seen_as_none():
    prompt = "digit 3 moving up and down and digit 6 moving left and right"
    frames = render([prompt] * 10).frames
    frames[:, :, 30:34] = np.minimum(frames[:, :, 30:34], 90)  # a bar from edge to edge joins all
    assert accuracy(frames, [prompt] * 10) == 0
    blank = np.full_like(frames, 255)
    seen = score_clips(blank, [prompt] * 10)
    assert seen.per_attribute["digit"].confusion == {"3": {"none": 10}, "6": {"none": 10}}


def test_controls_fail_as_they_must():
    clips = digits.render_clips(range(800), 4, GEOMETRY)
    controls = measure_controls(track_digits(clips.frames), clips.prompts, 0)
    assert controls.shuffled_prompts.accuracy == pytest.approx(controls.chance, abs=0.01)
    assert controls.shuffled_frames.per_attribute["digit"].right >= 0.98
    assert controls.shuffled_frames.per_attribute["motion"].right < 0.3
    # shuffled, a bounce may still turn round one to three times: docs/evaluation.md


def test_build_and_evaluate_through_the_command(tmp_path):
    build(BuildPlan("digits", 120, 60, TINY, 0), tmp_path / "data", num_workers=1)
    model = ClipGanConfig(latent_size=4, text_size=8, hidden_size=16, channels=4, patch_size=2)
    every = digits.PROMPTS + digits.HELD_OUT_PROMPTS
    vocabulary = Vocabulary.from_prompts(every)
    torch.manual_seed(0)
    sizes = {"height": TINY.height, "width": TINY.width}
    generator = build_generator(model, vocabulary_size=len(vocabulary), **sizes)
    info = WeightsInfo(
        model=model, num_frames=TINY.num_frames, **sizes, fps=10.0, words=vocabulary.words,
        prompts=digits.PROMPTS, held_out_prompts=digits.HELD_OUT_PROMPTS, step=1, clips_seen=16,
        t2vgan_version="0.0.0",
    )  # fmt: skip
    save_weights(tmp_path / "weights.safetensors", generator.state_dict(), info)
    out = tmp_path / "evaluation.json"
    done = run_warm(
        "-m", "t2vgan.evaluation", "--weights", tmp_path, "--device", "cpu",
        "--data", tmp_path / "data", "--num-clips", 100, "--out", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads(out.read_text())
    assert record["generated"]["accuracy"] == 0
    assert set(record["ceiling"]["per_attribute"]) == {"digit", "motion"}
    assert "digit, held out" in done.stdout
