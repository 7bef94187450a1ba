"""Captions are cleaned; still and repeated clips are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_tools.videos.judging import SeenClips, motion_of, perceptual_hash
from data_tools.videos.prompts import clean_prompt
from data_tools.videos.settings import VideoError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a  dog\truns\r\n home ", "a dog runs home"),
        ("cafe\u0301 noir", "café noir"),
        ("a \u202egod\u202c runs", "a god runs"),
        ("a\x00 dog\x1b[31m \x07runs", "a dog[31m runs"),
        ("\ufeffa\u200b dog", "a dog"),
        ("mango \U0001f469\u200d\U0001f373 cooks", "mango \U0001f469\u200d\U0001f373 cooks"),
        ("<script>alert(1)</script> dog", "<script>alert(1)</script> dog"),
    ],
)
def test_captions_are_cleaned(text, expected):
    assert clean_prompt(text, max_words=64) == expected


def test_long_captions_are_cut_between_words():
    assert clean_prompt("word " * 200_000, max_words=3) == "word word word"
    assert len(clean_prompt("x" * 1_000_000, max_words=64)) == 2000
    for empty in ("", " \n", "\u202e\x00", "...!"):
        with pytest.raises(VideoError, match="no words"):
            clean_prompt(empty, max_words=64)


@given(st.text(max_size=400))
def test_a_cleaned_caption_is_clean_and_stays_so(text):
    try:
        prompt = clean_prompt(text, max_words=8)
    except VideoError:
        return
    assert clean_prompt(prompt, max_words=8) == prompt
    assert prompt.encode().decode() == prompt
    assert not any(c in prompt for c in "\n\r\t\x00\u202e\u2066")


def test_motion_is_the_mean_change():
    frames = np.zeros((3, 4, 5, 3), np.uint8)
    assert motion_of(frames) == 0
    frames[1] = 30
    assert motion_of(frames) == 30, "up by 30, down by 30: never wrapped around"


def test_a_small_object_elsewhere_is_another_clip():
    rng = np.random.default_rng(0)
    seen, y, x = SeenClips(), *np.mgrid[:64, :64]
    num_new = 0
    for _ in range(100):
        start, stop = rng.uniform(8, 56, (2, 2))
        centres = start + (stop - start) * np.linspace(0, 1, 16)[:, None]  # T 2
        distances = np.hypot(y - centres[:, :1, None], x - centres[:, 1:, None])  # T H W
        clip = np.where(distances < 3, 255, 0).astype(np.uint8)[..., None].repeat(3, -1)
        num_new += seen.is_new(perceptual_hash(clip))
        assert not seen.is_new(perceptual_hash(clip))
    assert num_new >= 98
    plain = perceptual_hash(np.zeros((8, 64, 64, 3), np.uint8))
    assert seen.is_new(plain), "nothing tells one plain clip from another"
    assert seen.is_new(plain)


def test_near_duplicates_are_known_and_others_are_not():
    rng = np.random.default_rng(0)
    seen = SeenClips()
    hashes = []
    for _ in range(40):
        small = rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)
        clip = np.stack([np.kron(np.roll(small, t, 1), np.ones((12, 12, 1))) for t in range(8)])
        hashes.append(clip.astype(np.uint8))
        assert seen.is_new(perceptual_hash(hashes[-1]))
    for clip in hashes:
        noisy = np.clip(clip + rng.normal(0, 3, clip.shape), 0, 255).astype(np.uint8)
        assert not seen.is_new(perceptual_hash(noisy[:, ::2, ::2]))
