"""Refuse bad files and arrays; write whole files or none."""

import io
import os
import resource
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from t2vgan.errors import UserError
from t2vgan.media import (
    FORMATS,
    encode_clip,
    load_clip,
    save_clip,
    save_frame_folder,
)
from t2vgan.media import clips as clips_module
from tests.support.drawn_clips import circles, noise


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


@pytest.mark.parametrize("format", FORMATS)
def test_a_full_disk_leaves_what_was_there(tmp_path, format):
    """Use a limit of 100 bytes a file as a full disk."""
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
    with pytest.raises(UserError, match="is a file; move it away"):
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
