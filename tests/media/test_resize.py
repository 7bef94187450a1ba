import numpy as np
import pytest

from t2vgan.errors import UserError
from t2vgan.media.resize import choose_size, resize_frames

FRAMES = np.random.default_rng(0).integers(0, 256, (2, 5, 7, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("scale", "new_height", "size"),
    [(None, None, (36, 60)), (1, None, (36, 60)), (4, None, (144, 240)), (None, 512, (512, 853)),
     (None, 18, (18, 30)), (None, 1, (1, 2))],
)  # fmt: skip
def test_sizes_keep_the_ratio_of_the_sides(scale, new_height, size):
    assert choose_size(36, 60, 10, scale=scale, new_height=new_height) == size


@pytest.mark.parametrize(
    ("scale", "new_height", "message"),
    [
        (2, 512, "scale=2 and height=512: give only one of them"),
        (0, None, "scale=0: must be at least 1"),
        (-3, None, "scale=-3: must be at least 1"),
        (None, 0, "height=0: must be at least 1"),
        (None, 10**9, "are too large: no side may exceed 16383"),
        (400, None, "are too large"),
    ],
)
def test_sizes_out_of_range(scale, new_height, message):
    with pytest.raises(UserError, match=message):
        choose_size(64, 64, 100, scale=scale, new_height=new_height)


def test_nearest_repeats_pixels():
    large = resize_frames(FRAMES, (15, 21), resample="nearest")
    np.testing.assert_array_equal(large, FRAMES.repeat(3, axis=1).repeat(3, axis=2))


def test_lanczos_keeps_what_is_plain_and_is_smooth_between():
    plain = np.full((2, 5, 7, 3), 77, dtype=np.uint8)
    np.testing.assert_array_equal(resize_frames(plain, (20, 28)), np.full((2, 20, 28, 3), 77))
    ramp = np.broadcast_to(np.arange(0, 210, 30, dtype=np.uint8)[:, None], (1, 5, 7, 3))
    large = resize_frames(ramp, (20, 28))[0, 10, 8:20, 0].astype(int)
    assert abs(np.diff(large) - 7.5).max() <= 2


def test_the_same_size_changes_nothing():
    for resample in ("lanczos", "nearest"):
        np.testing.assert_array_equal(resize_frames(FRAMES, (5, 7), resample=resample), FRAMES)


def test_unknown_resampling_is_refused():
    with pytest.raises(UserError, match="resample='cubic' must be one of lanczos, nearest"):
        resize_frames(FRAMES, (5, 7), resample="cubic")
