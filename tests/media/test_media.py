import base64
import io
import os
import re
import resource
import subprocess
import sys

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from t2vgan.errors import UserError
from t2vgan.media import (
    FORMATS,
    contact_sheet,
    encode_clip,
    film_strips,
    load_clip,
    save_clip,
    save_frame_folder,
    slug,
    split_film_strips,
    to_data_uri,
)
from t2vgan.media import clips as clips_module
from t2vgan.media.animations import build_palette
from t2vgan.media.sheets import wrap

WHITE, BLUE, RED = (255, 255, 255), (0, 0, 255), (255, 0, 0)
MOVIES = ("mp4", "avi")
ANIMATIONS = ("gif", "webp")


def circles(num_frames=10, height=64, width=64, colour=BLUE):
    """A soft-edged circle that moves right over white, like our scenes."""
    frames = np.full((num_frames, height, width, 3), WHITE, dtype=np.uint8)
    for index, picture in enumerate(frames):
        centre = (width // 4 + index * width // (2 * num_frames), height // 2)
        cv2.circle(picture, centre, height // 6, colour, thickness=-1, lineType=cv2.LINE_AA)
    return frames


def noise(num_frames=4, height=12, width=10, seed=0):
    return np.random.default_rng(seed).integers(
        0, 256, (num_frames, height, width, 3), dtype=np.uint8
    )


def psnr(a, b):
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return 10 * np.log10(255**2 / error) if error else np.inf


def gif_delays(data):
    return [
        int.from_bytes(match[1], "little")
        for match in re.finditer(rb"\x21\xf9\x04.(..).\x00\x2c", data, re.DOTALL)
    ]


# --- round trips -------------------------------------------------------------------------------


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


# --- what others see ---------------------------------------------------------------------------


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


def test_data_uri():
    uri = to_data_uri(circles(), format="webp", fps=10)
    head, data = uri.split(",")
    assert head == "data:image/webp;base64"
    assert base64.b64decode(data) == encode_clip(circles(), format="webp", fps=10)
    assert to_data_uri(circles(), format="mp4").startswith("data:video/mp4;base64,")


# --- refusals ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["clip.gfi", "clip", "clip.jpg"])
def test_unknown_suffix(tmp_path, name):
    with pytest.raises(UserError, match=r"suffix must be one of \.gif, \.mp4"):
        save_clip(tmp_path / name, circles(1))
    with pytest.raises(UserError, match="suffix must be one of"):
        load_clip(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf"), 1e-9])
def test_frame_rates_without_sense(fps):
    with pytest.raises(UserError, match=r"fps=.* must be between"):
        encode_clip(circles(1), format="gif", fps=fps)


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 4, 4, 3)),
        np.zeros((4, 4, 3), np.uint8),
        np.zeros((2, 3, 4, 4), np.uint8),
        np.zeros((0, 4, 4, 3), np.uint8),
        np.zeros((1, 4, 4, 4), np.uint8),
    ],
)
def test_other_arrays_are_refused(tmp_path, frames):
    with pytest.raises(ValueError, match="frames must be"):
        save_clip(tmp_path / "clip.gif", frames)
    with pytest.raises(ValueError, match="frames must be"):
        save_frame_folder(tmp_path / "clip", frames)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["gif", "webp", "mp4", "avi"])
def test_files_that_are_no_clips(tmp_path, format):
    path = tmp_path / f"clip.{format}"
    whole = encode_clip(circles(), format=format)
    other = encode_clip(circles(), format="mp4" if format == "avi" else "avi")
    for data in (b"", b"not a clip at all", whole[:40], other, b"#EXTM3U\n/etc/passwd\n"):
        path.write_bytes(data)
        with pytest.raises(UserError, match=r"clip\.\w+: cannot be decoded as"):
            load_clip(path)


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(["gif", "webp", "mp4", "avi"]), st.data())
def test_damage_is_a_user_error_or_other_frames(tmp_path_factory, format, data):
    damaged = bytearray(encode_clip(circles(3, 16, 16), format=format))
    for _ in range(3):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damage") / f"clip.{format}"
    path.write_bytes(damaged)
    try:
        frames = load_clip(path)
    except UserError:
        return
    assert frames.dtype == np.uint8
    assert frames.ndim == 4


def test_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        load_clip(tmp_path / "nowhere.gif")


def test_a_small_file_that_unfolds_without_end_is_refused(tmp_path):
    bomb = io.BytesIO()
    Image.new("P", (20_000, 20_000)).save(bomb, "GIF")
    (tmp_path / "wide.gif").write_bytes(bomb.getvalue())
    with pytest.raises(UserError, match=r"wide\.gif"):
        load_clip(tmp_path / "wide.gif")


@pytest.mark.parametrize("format", ["gif", "webp", "mp4", "avi"])
def test_too_many_frames_are_refused(tmp_path, monkeypatch, format):
    monkeypatch.setattr(clips_module, "MAX_CLIP_PIXELS", 5 * 64 * 64)
    save_clip(tmp_path / f"long.{format}", circles(6))
    with pytest.raises(UserError, match=r"long\.\w+: clips of more than 20480 pixels"):
        load_clip(tmp_path / f"long.{format}")


def test_sides_too_long_for_players(tmp_path):
    with pytest.raises(UserError, match="20000x1"):
        save_clip(tmp_path / "wide.webp", np.zeros((1, 1, 20_000, 3), np.uint8))


# --- whole or absent ---------------------------------------------------------------------------


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_leaves_what_was_there(tmp_path, format):
    """The kernel refuses to write past 100 bytes in any file: as good as a full disk."""
    target = tmp_path / f"clip.{format}"
    target.write_bytes(b"before")
    script = (
        "import sys, numpy as np\n"
        "from t2vgan.media import save_clip\n"
        "rng = np.random.default_rng(0)\n"
        "save_clip(sys.argv[1], rng.integers(0, 256, (4, 32, 32, 3), dtype=np.uint8))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", script, target],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert "OSError" in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == [target.name]
    assert target.read_bytes() == b"before"


def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        save_clip(tmp_path / "file" / "clip.gif", circles(1))
    with pytest.raises(OSError, match="file"):
        save_frame_folder(tmp_path / "file" / "frames", circles(1))


def test_frame_folder(tmp_path):
    frames = noise(12)
    save_frame_folder(tmp_path / "clip", frames)
    assert sorted(os.listdir(tmp_path / "clip")) == sorted(f"frame_{i}.png" for i in range(12))
    for index in range(12):
        picture = np.asarray(Image.open(tmp_path / "clip" / f"frame_{index}.png"))
        np.testing.assert_array_equal(picture, frames[index])
    assert os.listdir(tmp_path) == ["clip"]


def test_a_shorter_clip_leaves_no_frames_of_the_longer_one(tmp_path):
    save_frame_folder(tmp_path / "clip", noise(5))
    save_frame_folder(tmp_path / "clip", noise(2, seed=1))
    assert sorted(os.listdir(tmp_path / "clip")) == ["frame_0.png", "frame_1.png"]
    assert os.listdir(tmp_path) == ["clip"]


def test_frames_never_replace_anything_else(tmp_path):
    (tmp_path / "clip").mkdir()
    (tmp_path / "clip" / "thesis.txt").write_text("precious")
    with pytest.raises(UserError, match=r"holds thesis\.txt"):
        save_frame_folder(tmp_path / "clip", noise())
    with pytest.raises(UserError, match="a file stands where"):
        save_frame_folder(tmp_path / "clip" / "thesis.txt", noise())
    assert (tmp_path / "clip" / "thesis.txt").read_text() == "precious"


def test_a_frame_folder_that_fails_half_way_leaves_the_old_one(tmp_path, monkeypatch):
    save_frame_folder(tmp_path / "clip", noise(2))
    real, calls = clips_module.encode_png, []

    def fail_late(picture):
        calls.append(picture)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        return real(picture)

    monkeypatch.setattr(clips_module, "encode_png", fail_late)
    with pytest.raises(OSError, match="No space"):
        save_frame_folder(tmp_path / "clip", noise(5))
    assert os.listdir(tmp_path) == ["clip"]
    assert sorted(os.listdir(tmp_path / "clip")) == ["frame_0.png", "frame_1.png"]


# --- pictures of many clips --------------------------------------------------------------------


@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(1, 7))
def test_film_strips_come_back(num_clips, num_frames, height, width):
    count = num_clips * num_frames * height * width * 3
    clips = (np.arange(count) % 251).astype(np.uint8)
    clips = clips.reshape(num_clips, num_frames, height, width, 3)
    strips = film_strips(clips)
    assert strips.shape == (num_clips * height, num_frames * width, 3)
    np.testing.assert_array_equal(strips[:height, :width], clips[0, 0])
    np.testing.assert_array_equal(strips[-height:, -width:], clips[-1, -1])
    back = split_film_strips(strips, num_frames=num_frames, height=height, width=width)
    np.testing.assert_array_equal(back, clips)


def test_split_refuses_a_picture_of_another_size():
    with pytest.raises(ValueError, match="does not hold rows of 2 frames of 4x3"):
        split_film_strips(np.zeros((6, 9, 3), np.uint8), num_frames=2, height=3, width=4)


def find(sheet, clip):
    """Return every (top, left) where a clip's pixels stand on a sheet."""
    height, width = clip.shape[1:3]
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (height, width), axis=(1, 2))
    equal = (windows == np.moveaxis(clip, 3, 1)[:, None, None]).all(axis=(0, 3, 4, 5))
    return [tuple(place) for place in np.argwhere(equal).tolist()]


@pytest.mark.parametrize("scale", [1, 2])
def test_contact_sheet_places_clips_in_reading_order_on_an_even_grid(scale):
    clips = np.stack([noise(3, 8, 6, seed) for seed in range(5)])
    sheet = contact_sheet(clips, list("abcde"), columns=3, scale=scale, title="five clips")
    assert sheet.dtype == np.uint8
    assert sheet.shape[0] == 3
    assert sheet.shape[1] % 2 == sheet.shape[2] % 2 == 0
    enlarged = clips.repeat(scale, axis=2).repeat(scale, axis=3)
    places = [find(sheet, clip) for clip in enlarged]
    assert [len(place) for place in places] == [1] * 5
    tops, lefts = np.array([place[0] for place in places]).T
    assert tops[0] == tops[1] == tops[2] < tops[3] == tops[4]
    assert lefts[0] == lefts[3]
    assert lefts[1] == lefts[4]
    assert lefts[1] - lefts[0] == lefts[2] - lefts[1] > 6 * scale


def test_contact_sheet_writes_each_label_under_its_clip():
    clips = np.full((2, 1, 64, 64, 3), 255, np.uint8)
    blank = contact_sheet(clips, ["", " "], columns=2)
    left = contact_sheet(clips, ["circle shrinking", ""], columns=2)
    right = contact_sheet(clips, ["", "circle shrinking"], columns=2)
    middle = left.shape[2] // 2
    assert (left[0] < 100).all(axis=-1)[:, :middle].sum() > 50  # ink
    assert (left[0] < 100).all(axis=-1)[:, middle:].sum() == 0
    assert (right[0] < 100).all(axis=-1)[:, middle:].sum() > 50
    assert (blank < 100).all(axis=-1).sum() == 0


def test_a_long_label_stays_in_its_cell():
    clips = np.full((3, 1, 40, 40, 3), 255, np.uint8)
    long = "word " * 40 + "supercalifragilisticexpialidocious" * 4
    sheet = contact_sheet(clips, ["", long, ""], columns=3, font_size=10)
    columns = np.flatnonzero((sheet[0] < 120).all(axis=-1).any(axis=0))
    third = sheet.shape[2] / 3
    assert third - 6 < columns.min() < columns.max() < 2 * third + 6
    assert contact_sheet(clips, ["", "a b c", ""], columns=3).shape[1] < 110


@pytest.mark.parametrize(("columns", "scale"), [(0, 1), (-1, 1), (2, 0)])
def test_contact_sheet_refuses_sizes_without_sense(columns, scale):
    with pytest.raises(UserError, match="must all be above 0"):
        contact_sheet(np.zeros((1, 1, 4, 4, 3), np.uint8), ["a"], columns=columns, scale=scale)


def test_contact_sheet_refuses_missing_labels():
    with pytest.raises(ValueError, match="1 labels for 2 clips"):
        contact_sheet(np.zeros((2, 1, 4, 4, 3), np.uint8), ["a"], columns=1)


# --- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("circle moving up-right", "circle-moving-up-right"),
        ("  Circle,  MOVING!  ", "circle-moving"),
        ("../../etc/passwd", "etc-passwd"),
        ("a\n\0b", "a-b"),
    ],
)
def test_slug(prompt, expected):
    assert slug(prompt) == expected


@given(st.text())
def test_slugs_are_safe_short_and_never_empty(prompt):
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", slug(prompt))
    assert len(slug(prompt)) <= 64


def test_slugs_of_lost_letters_differ():
    prompts = ["красный круг", "синий круг", "...", "", "x" * 100, "x" * 101, "é", "è"]
    assert len({slug(prompt) for prompt in prompts}) == len(prompts)


def test_media_imports_no_torch():
    heavy = ("torch", "cv2", "av", "PIL")
    script = f"import sys, t2vgan.media; sys.exit(any(name in sys.modules for name in {heavy}))"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_long_label_is_cut_in_a_few_looks():
    looks = []

    def length(text: str) -> float:
        looks.append(text)
        return len(text)

    lines = wrap("circle moving up-right " * 70, 12, length)
    assert lines == ["circle", "moving", "up-right ci…"]
    assert len(looks) <= 3 * 210, "a few for each word"
