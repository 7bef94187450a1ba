"""Clips survive the formats, and other programs read them."""

import base64
import io
import re
import subprocess
import sys

import av
import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from t2vgan.media import (
    FORMATS,
    encode_clip,
    format_rate_note,
    load_clip,
    save_clip,
    to_data_uri,
)
from t2vgan.media import clips as clips_module
from t2vgan.media.animations import build_palette
from t2vgan.media.resize import resize_frames
from tests.support.drawn_clips import ANIMATIONS, BLUE, MOVIES, RED, WHITE, circles, noise, psnr


def gif_delays(data):
    return [
        int.from_bytes(match[1], "little")
        for match in re.finditer(rb"\x21\xf9\x04.(..).\x00\x2c", data, re.DOTALL)
    ]


@pytest.mark.parametrize("format", ANIMATIONS)
@pytest.mark.parametrize("shape", [(10, 64, 64), (1, 8, 8), (3, 7, 9), (2, 1, 1), (5, 33, 20)])
def test_scenes_survive_animations_exactly(tmp_path, format, shape):
    frames = circles(*shape)
    save_clip(tmp_path / f"clip.{format}", frames)
    np.testing.assert_array_equal(load_clip(tmp_path / f"clip.{format}"), frames)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_any_frames_survive_webp_and_few_colours_survive_gif(num_frames, height, width, seed):
    random = np.random.default_rng(seed)
    frames = noise(num_frames, height, width, seed)
    frames[random.random(num_frames) < 0.4] = frames[0]  # equal neighbours: writers merge those
    palette = random.integers(0, 256, (int(random.integers(1, 257)), 3), dtype=np.uint8)
    drawn = palette[random.integers(0, len(palette), frames.shape[:3])]
    drawn[1:][random.random(num_frames - 1) < 0.4] = drawn[0]
    for format, clip in (("webp", frames), ("gif", drawn)):
        data = encode_clip(clip, format=format)
        decoded = np.stack(list(clips_module.decode_animation(data)))
        np.testing.assert_array_equal(decoded, clip)


@pytest.mark.parametrize("format", ANIMATIONS)
def test_a_clip_that_stands_still_keeps_its_frames(tmp_path, format):
    still = np.repeat(circles(1), 10, axis=0)
    save_clip(tmp_path / f"still.{format}", still)
    assert load_clip(tmp_path / f"still.{format}").shape == still.shape


@pytest.mark.parametrize("format", MOVIES)
@pytest.mark.parametrize("colour", [BLUE, RED, (0, 160, 0)])
def test_movies_are_close_and_channels_in_order(tmp_path, format, colour):
    frames = circles(colour=colour)
    save_clip(tmp_path / f"clip.{format}", frames)
    loaded = load_clip(tmp_path / f"clip.{format}")
    assert loaded.shape == frames.shape
    assert psnr(loaded, frames) > 25  # colour at half resolution costs the rim of the circle
    inside = (frames == colour).all(axis=-1)
    assert abs(np.median(loaded[inside], axis=0) - colour).max() < 8
    for index in range(10):  # the order of the frames
        errors = [psnr(loaded[index], picture) for picture in frames]
        assert np.argmax(errors) == index


@pytest.mark.parametrize("format", MOVIES)
@pytest.mark.parametrize("height", [718, 720])
def test_colours_of_high_definition_are_those_of_players(tmp_path, format, height):
    """From 720 rows on, untagged colours are BT.709: FFmpeg converts by the matrix named here."""
    colour = (200, 80, 40)
    save_clip(tmp_path / f"clip.{format}", np.full((1, height, 16, 3), colour, np.uint8))
    assert abs(load_clip(tmp_path / f"clip.{format}")[0, 8, 8] - np.array(colour)).max() < 4
    with av.open(tmp_path / f"clip.{format}") as film:
        (frame,) = film.decode(video=0)
    matrix = "ITU709" if height == 720 else "ITU601"
    shown = frame.to_ndarray(format="rgb24", src_colorspace=matrix)[8, 8]
    assert abs(shown - np.array(colour)).max() < 4


@pytest.mark.parametrize("format", MOVIES)
@pytest.mark.parametrize("shape", [(1, 64, 64), (3, 63, 64), (3, 64, 63), (2, 17, 31), (4, 1, 1)])
def test_movies_of_odd_sizes_repeat_the_edge(tmp_path, format, shape):
    frames = np.repeat(noise(1, *shape[1:])[:, :1, :1], shape[0], axis=0)
    frames = np.broadcast_to(frames, (*shape, 3)).copy()  # plain: the added edge must look like it
    save_clip(tmp_path / f"clip.{format}", frames)
    loaded = load_clip(tmp_path / f"clip.{format}")
    assert loaded.shape == (shape[0], shape[1] + shape[1] % 2, shape[2] + shape[2] % 2, 3)
    assert abs(loaded.astype(int) - frames[0, 0, 0]).max() < 8


def test_png_is_a_film_strip(tmp_path):
    frames = noise(5, 6, 7)
    save_clip(tmp_path / "clip.png", frames)
    strip = np.asarray(Image.open(tmp_path / "clip.png"))
    assert strip.shape == (6, 5 * 7, 3)
    np.testing.assert_array_equal(strip[:, 14:21], frames[2])


@pytest.mark.parametrize("format", ANIMATIONS)
def test_pillow_sees_endless_loop_and_durations(tmp_path, format):
    save_clip(tmp_path / f"clip.{format}", circles(4), fps=8)
    with Image.open(tmp_path / f"clip.{format}") as animation:
        durations = []
        for picture in ImageSequence.Iterator(animation):
            picture.load()
            durations.append(picture.info["duration"])
        assert animation.info["loop"] == 0
    assert sum(durations) == 500
    assert durations == ([120, 130, 130, 120] if format == "gif" else [125] * 4)


@pytest.mark.parametrize(("fps", "expected"), [(10, [10] * 6), (30, [3, 4, 3, 3, 4, 3])])
def test_gif_delays_never_drift(fps, expected):
    assert gif_delays(encode_clip(circles(6), format="gif", fps=fps)) == expected


def test_gif_delays_are_never_so_short_that_players_replace_them():
    assert gif_delays(encode_clip(circles(6), format="gif", fps=100)) == [2] * 6


@pytest.mark.parametrize("fps", [50, 50.1, 60, 1000])
def test_a_note_says_what_players_make_of_a_fast_gif(fps):
    """Pillow reads the durations that players use."""
    with Image.open(io.BytesIO(encode_clip(circles(6), format="gif", fps=fps))) as animation:
        durations = [picture.info["duration"] for picture in ImageSequence.Iterator(animation)]
    assert sum(durations) == 6 * 1000 / 50
    note = format_rate_note("gif", fps)
    assert (note == "") == (fps == 50)
    assert fps == 50 or f"plays at 50 frames/s, not {fps:g}" in note
    assert format_rate_note("webp", fps) == ""


@pytest.mark.parametrize("fps", [10, 24, 12.5])
@pytest.mark.parametrize("format", MOVIES)
def test_opencv_plays_movies_at_their_rate(tmp_path, format, fps):
    save_clip(tmp_path / f"clip.{format}", circles(), fps=fps)
    player = cv2.VideoCapture(str(tmp_path / f"clip.{format}"))
    assert player.get(cv2.CAP_PROP_FPS) == pytest.approx(fps)
    ok, picture = player.read()
    assert ok
    blue, green, red = picture[32, 16].astype(int)  # OpenCV's order
    assert blue > 240
    assert green < 10
    assert red < 10


def test_codecs_are_the_promised_ones():
    avi = encode_clip(circles(), format="avi")
    assert avi[:4] == b"RIFF"
    assert avi.count(b"XVID") == 2  # stream header and format
    mp4 = encode_clip(circles(), format="mp4")
    assert b"avc1" in mp4


def test_our_avi_is_the_kind_that_opencv_writes_as_xvid(tmp_path):
    theirs = tmp_path / "theirs.avi"
    writer = cv2.VideoWriter(str(theirs), cv2.VideoWriter.fourcc(*"XVID"), 10, (64, 64))
    for picture in circles():
        writer.write(picture[..., ::-1].copy())
    writer.release()
    save_clip(tmp_path / "ours.avi", circles())
    players = [cv2.VideoCapture(str(path)) for path in (theirs, tmp_path / "ours.avi")]
    for property in (cv2.CAP_PROP_FOURCC, cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT):
        assert players[0].get(property) == players[1].get(property) != 0
    assert psnr(load_clip(tmp_path / "ours.avi"), circles()) > psnr(load_clip(theirs), circles())


def test_a_crowded_gif_palette_keeps_the_plain_colours_exact():
    frames = circles()
    frames[:, :8] = noise(10, 8, 64)  # thousands of colours
    decoded = np.stack(list(clips_module.decode_animation(encode_clip(frames, format="gif"))))
    plain = (frames == WHITE).all(axis=-1) | (frames == BLUE).all(axis=-1)
    assert plain.sum() > 30_000
    np.testing.assert_array_equal(decoded[plain], frames[plain])
    assert psnr(decoded[:, :8], frames[:, :8]) > 18
    assert psnr(decoded[:, 8:], frames[:, 8:]) > 40


def test_a_crowded_gif_palette_has_room_for_small_objects():
    rng = np.random.default_rng(0)
    frames = rng.integers(236, 256, (4, 256, 256, 3), dtype=np.uint8)  # whites that hardly differ
    objects = {(255, 0, 255): 20, (255, 0, 40): 60, (0, 255, 255): 100}
    for colour, place in objects.items():
        shades = np.array(colour) + rng.integers(-20, 21, (4, 6, 6, 3))
        frames[:, place : place + 6, place : place + 6] = shades.clip(0, 255)
    palette, indexed = build_palette(frames)
    error = np.abs(palette[indexed].astype(int) - frames).max()
    assert error < 64, "a magenta object is not drawn red"


@pytest.mark.parametrize("format", FORMATS)
def test_same_frames_same_bytes(format):
    first = encode_clip(noise(), format=format)
    assert first == encode_clip(noise(), format=format)
    assert first != encode_clip(noise(seed=1), format=format)


def test_films_do_not_depend_on_what_memory_held_before():
    """x264 reads some of it, with its preset's options: in half of these clips within 25 films."""
    rng = np.random.default_rng(0)
    for _ in range(4):
        small = rng.integers(0, 256, (7, 16, 24, 3), dtype=np.uint8)
        clip = resize_frames(small, (48, 72), resample="lanczos")
        films = set()
        for _ in range(25):
            encode_clip(clip, format="gif")  # other numbers in the memory that is given back
            films.add(encode_clip(clip, format="mp4"))
        assert len(films) == 1


def test_data_uri():
    uri = to_data_uri(circles(), format="webp", fps=10)
    head, data = uri.split(",")
    assert head == "data:image/webp;base64"
    assert base64.b64decode(data) == encode_clip(circles(), format="webp", fps=10)
    assert to_data_uri(circles(), format="mp4").startswith("data:video/mp4;base64,")


def test_media_imports_no_torch():
    heavy = ("torch", "cv2", "av", "PIL")
    script = f"import sys, t2vgan.media; sys.exit(any(name in sys.modules for name in {heavy}))"
    subprocess.run([sys.executable, "-c", script], check=True)
