import numpy as np
import pytest
import torch
from PIL import Image

from t2vgan.errors import UserError
from t2vgan.media import load_clip
from t2vgan.pipeline import Videos

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 3, 4, 6, 3), dtype=np.uint8)


def make_videos(output="numpy", frames=FRAMES):
    return Videos(frames, ("a", "b")[: len(frames)], 10.0, output)


def test_videos_in_every_form_show_the_same():
    np.testing.assert_array_equal(make_videos().videos, FRAMES)
    clips = make_videos("pil").videos
    assert [[type(picture) for picture in clip] for clip in clips] == [[Image.Image] * 3] * 2
    np.testing.assert_array_equal([[np.asarray(p) for p in clip] for clip in clips], FRAMES)
    video = make_videos("torch").videos
    assert video.shape == (2, 3, 3, 4, 6)
    assert video.dtype == torch.float32
    levels = ((video + 1) * 127.5).round().permute(0, 2, 3, 4, 1)
    np.testing.assert_array_equal(levels.numpy(), FRAMES)


def test_videos_are_a_sequence_of_clips():
    videos = make_videos()
    assert len(videos) == 2
    np.testing.assert_array_equal(list(videos), FRAMES)
    np.testing.assert_array_equal(videos[-1], FRAMES[-1])


def test_a_notebook_prints_one_line_instead_of_pixels():
    assert repr(make_videos()) == "<Videos: 2 of 3 frames of 4x6 at 10 frames/s>"


def test_one_video_is_saved_at_its_path_and_several_are_numbered(tmp_path):
    one = make_videos(frames=FRAMES[:1])
    assert one.save(tmp_path / "a.webp") == [tmp_path / "a.webp"]
    np.testing.assert_array_equal(load_clip(tmp_path / "a.webp"), FRAMES[0])
    paths = make_videos().save(tmp_path / "b.v2.webp")
    assert [path.name for path in paths] == ["b.v2-0.webp", "b.v2-1.webp"]
    np.testing.assert_array_equal([load_clip(path) for path in paths], FRAMES)


def test_the_rate_is_that_of_the_data_unless_another_is_given(tmp_path):
    for fps, milliseconds in ((None, 100), (25, 40)):
        make_videos(frames=FRAMES[:1]).save(tmp_path / "a.gif", fps=fps)
        with Image.open(tmp_path / "a.gif") as picture:
            assert picture.info["duration"] == milliseconds


def test_an_unknown_suffix_is_refused_before_any_file(tmp_path):
    with pytest.raises(UserError, match="its suffix must be one of"):
        make_videos().save(tmp_path / "a.mov")
    assert list(tmp_path.iterdir()) == []


def test_resized_videos_can_be_saved():
    large = make_videos("torch").resize(scale=3, resample="nearest")
    np.testing.assert_array_equal(large.frames[:, :, ::3, ::3], FRAMES)
    assert large.videos.shape == (2, 3, 3, 12, 18)
    assert make_videos().resize(height=8).videos.shape == (2, 3, 8, 12, 3)
    assert make_videos().resize().videos.shape == FRAMES.shape
