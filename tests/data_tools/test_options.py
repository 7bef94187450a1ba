"""Options that several commands share, at their limits."""

from types import SimpleNamespace

import pytest

from data_tools.build.options import check_at_least, parse_size
from t2vgan.data.film_strip import MAX_JPEG_SIDE, MAX_WEBP_SIDE
from t2vgan.data.shards import Geometry
from t2vgan.errors import UserError


@pytest.mark.parametrize(("storage", "most"), [("webp", MAX_WEBP_SIDE), ("jpg", MAX_JPEG_SIDE)])
def test_a_film_strip_is_as_long_and_wide_as_its_format_holds(storage, most):
    storage = f"strip-{storage}"
    assert parse_size(f"{most}X2", 1, storage) == Geometry(num_frames=1, height=most, width=2)
    assert parse_size(f"2x{most}", 3, storage) == Geometry(num_frames=3, height=2, width=most)
    assert parse_size("3x64", most // 3, storage).num_frames == most // 3
    for size, num_frames in ((f"3x{most + 1}", 1), ("3x64", most // 3 + 1)):
        with pytest.raises(UserError, match=rf"--size {size}: .* holds at most {most} of each"):
            parse_size(size, num_frames, storage)


@pytest.mark.parametrize(("storage", "num_frames"), [("mp4", 5), ("strip-jpg", 1)])
def test_clips_of_too_many_pixels_are_refused_in_every_storage(storage, num_frames):
    message = rf"^--num-frames {num_frames} --size 60000x60000: a clip must have at most 268,435,4"
    with pytest.raises(UserError, match=message):
        parse_size("60000x60000", num_frames, storage)
    assert parse_size("64x64", 2**16, "mp4").num_frames == 2**16, "which has no strip"


@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_an_option_below_its_least_value_is_named(value):
    options = SimpleNamespace(num_clips=1, per_shard=value)
    check_at_least(1, options, "num_clips")
    with pytest.raises(UserError, match=rf"^--per-shard {value}: must be at least 1$"):
        check_at_least(1, options, "num_clips", "per_shard")
