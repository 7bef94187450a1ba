"""Cut films with broken clocks as players show them."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from data_tools.videos.decoding import open_video, shown_frames
from data_tools.videos.settings import Limits, VideoError
from t2vgan.data.shards import Geometry
from tests.support.filming import Film, counting, numbers_of, write_film
from tests.support.source_videos import LOSSLESS, clips_of, reason_of

THEORA = Path(__file__).parent / "films" / "theora.ogv"
"""Nine pictures at 5 frames/s, three dark and six bright; what repeats one has no bytes."""
FINE = {"clips_per_video": 0, "stride": 0.4, "fps": 10.0}  # four pictures at 10 frames/s
H264 = Film(options={"crf": "5", "preset": "veryfast", "g": "6", "bf": "0"})
MPEG = Film("mpeg2video", rate=Fraction(25), options={"qmin": "1", "qmax": "2", "g": "10"})


def seconds(*spans: tuple[float, int]) -> list[Fraction]:
    """Return times 0.1 s apart, `count` of them from each start on."""
    return [Fraction(start) + Fraction(i, 10) for start, count in spans for i in range(count)]


@pytest.mark.parametrize("start", [12, 27, 3600, 95_000])
@pytest.mark.parametrize("name", ["a.ts", "a.m2ts"])
def test_a_jump_ahead_is_passed_over(tmp_path, name, start):
    times = seconds((0, 8), (start, 8))
    found = clips_of(write_film(tmp_path / name, counting(16), H264, times), **FINE)
    assert [numbers_of(clip) for clip in found] == [list(range(k, k + 4)) for k in (0, 4, 8, 12)]


@pytest.mark.parametrize(("name", "times"), [
    ("a.ts", seconds((0, 4), (4, 4))),
    ("a.mkv", seconds((0, 4), (40, 4))),
])  # fmt: skip
def test_a_gap_that_the_format_allows_is_a_still_picture(tmp_path, name, times):
    """Show it for up to ten seconds in MPEG-TS.

    Formats whose clocks never start again show it for as long as they say."""
    film = LOSSLESS if name == "a.mkv" else H264
    found = clips_of(write_film(tmp_path / name, counting(8), film, times), **FINE)
    shown = [number for clip in found for number in numbers_of(clip)]
    length = round(10 * times[-1]) + 1
    assert len(shown) == length // 4 * 4
    assert shown[:4] == [0, 1, 2, 3]
    assert set(shown[4:-4]) == {3}, "the picture before the gap stays"
    assert shown[-4:] == [4, 5, 6, 7]


@pytest.mark.parametrize(
    ("name", "film"), [("a.ts", H264), ("a.m2ts", H264), ("a.mpg", MPEG), ("a.vob", MPEG)]
)
def test_joined_recordings_play_one_after_the_other(tmp_path, name, film):
    """Join files by `cat`.

    The second begins at an earlier time and counts its packets anew."""
    pictures = counting(24)
    later = [Fraction(i) / film.rate + 50 for i in range(12)] if name.endswith("ts") else ()
    first = write_film(tmp_path / f"1{name}", pictures[:12], film, later).read_bytes()
    second = write_film(tmp_path / f"2{name}", pictures[12:], film).read_bytes()
    (tmp_path / name).write_bytes(first + second)
    changes = {**FINE, "fps": float(film.rate), "stride": float(4 / film.rate)}
    found = clips_of(tmp_path / name, **changes)
    assert [numbers_of(clip) for clip in found] == [list(range(k, k + 4)) for k in range(0, 24, 4)]


@pytest.mark.parametrize("name", ["a.ts", "a.m2ts"])
def test_joined_parts_of_one_recording_play_on(tmp_path, name):
    """The clock goes on, and only the count of packets begins anew."""
    parts = [
        write_film(tmp_path / f"{start}{name}", counting(24)[start : start + 12], H264, times)
        for start in (0, 12)
        for times in [seconds((start / 10, 12))]
    ]
    (tmp_path / name).write_bytes(b"".join(part.read_bytes() for part in parts))
    found = clips_of(tmp_path / name, **FINE)
    assert [numbers_of(clip) for clip in found] == [list(range(k, k + 4)) for k in range(0, 24, 4)]


@pytest.mark.parametrize("lost", [0, 10, 19, 20, 21, 23, 24, 25, 26, 30])
def test_lost_packets_are_an_error_wherever_they_lie(tmp_path, lost):
    """Lose three packets at the ends and beginnings of pictures.

    Every picture is a key frame, as at a joint; one ends in the 21st packet from here.
    """
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(12)]
    whole = write_film(tmp_path / "a.ts", noise, Film(options={"crf": "10", "g": "1"})).read_bytes()
    start = (90 + lost) * 188
    (tmp_path / "b.ts").write_bytes(whole[:start] + whole[start + 3 * 188 :])
    assert reason_of(tmp_path / "b.ts", **FINE) == "decode"


def test_bytes_that_are_missing_are_still_an_error(tmp_path):
    """Lose ten packets where the clock goes on."""
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(24)]
    whole = write_film(tmp_path / "a.ts", noise, Film(options={"crf": "10", "g": "4"})).read_bytes()
    (tmp_path / "b.ts").write_bytes(
        whole[: len(whole) // 376 * 188] + whole[len(whole) // 376 * 188 + 1880 :]
    )
    assert reason_of(tmp_path / "b.ts", **FINE) == "decode"


@pytest.mark.parametrize("rate", [2, 10])
def test_films_in_avi_keep_all_of_their_b_frames(tmp_path, rate):
    """AVI has times of decoding only."""
    film = Film(rate=Fraction(rate), options={"crf": "5", "bf": "2", "b-adapt": "0"})
    path = write_film(tmp_path / "a.avi", counting(24), film)
    found = clips_of(path, clips_per_video=0, fps=float(rate), stride=4 / rate)
    shown = [number for clip in found for number in numbers_of(clip)]
    assert shown == list(range(24)) or shown == [0, *range(23)], "the first may stay for two"


@pytest.mark.parametrize("name", ["a.mkv", "a.ts", "a.mp4"])
def test_a_clock_that_begins_late_is_no_length(tmp_path, name):
    film = LOSSLESS if name == "a.mkv" else H264
    times = seconds((90_000, 12))
    path = write_film(tmp_path / name, counting(12), film, times)
    assert numbers_of(clips_of(path)[0]) == [0, 2, 4, 6]


@pytest.mark.parametrize("name", ["a.mkv", "a.ts"])
def test_the_limit_counts_what_is_shown(tmp_path, name):
    """However the header counts, and where none does."""
    film = LOSSLESS if name == "a.mkv" else H264
    path = write_film(tmp_path / name, counting(24), film, seconds((500, 24)))
    assert reason_of(path, Limits(max_seconds=1.5), **FINE) == "limit"
    assert len(clips_of(path, Limits(max_seconds=2.5), **FINE)) == 6


def test_a_picture_may_not_stay_longer_than_the_limit(tmp_path):
    """Cut no still clips from a gap of weeks."""
    path = write_film(tmp_path / "a.mkv", counting(16), LOSSLESS, seconds((0, 8), (2_000_000, 8)))
    believed = Limits(max_seconds=float("inf"))
    with open(path, "rb") as file, open_video(file, believed) as (container, stream):
        shown = shown_frames(file, container, stream, Limits())
        assert [frame.start for frame in islice(shown, 7)] == seconds((0, 7))
        with pytest.raises(VideoError, match="longer than the limit of 14400 seconds"):
            next(shown)


def test_packets_without_bytes_repeat_the_picture(tmp_path):
    geometry = Geometry(num_frames=8, height=32, width=32)
    (clip,) = clips_of(THEORA, geometry=geometry)
    assert (clip[:3].mean(axis=(1, 2, 3)) < 60).all()
    assert (clip[3:].mean(axis=(1, 2, 3)) > 180).all()
    joined = tmp_path / "joined.ogv"
    joined.write_bytes(2 * THEORA.read_bytes())
    found = clips_of(joined, geometry=geometry, clips_per_video=0, stride=1.6)
    bright = np.concatenate([clip.mean(axis=(1, 2, 3)) > 120 for clip in found])
    assert np.flatnonzero(np.diff(bright)).tolist() == [2, 8, 8 + 3]
