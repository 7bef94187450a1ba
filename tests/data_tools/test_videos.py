"""Which frame of a video is shown at a time."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition

from data_tools.videos.input_list.locations import open_bytes
from data_tools.videos.settings import VideoError
from tests.support.filming import Film, counting, numbers_of, write_film
from tests.support.source_videos import LOSSLESS, clips_of, reason_of


@pytest.mark.parametrize(
    ("name", "film"),
    [
        ("a.mp4", Film()),
        ("a.mov", Film("mpeg4", options={"qmin": "1", "qmax": "2"}, audio=True)),
        ("a.mkv", LOSSLESS),
        ("a.webm", Film("libvpx", options={"crf": "4", "b": "2M"})),
        ("vp9.webm", Film("libvpx-vp9", options={"crf": "10", "b": "0", "cpu-used": "8"})),
        ("a.avi", Film("mpeg4", options={"qmin": "1", "qmax": "2"})),
        ("a.ts", Film("libx264", audio=True)),
        ("10bit.mp4", Film("libx265", "yuv420p10le", options={"x265-params": "log-level=none"})),
        ("444.mp4", Film("libx264", "yuv444p")),
    ],
)
def test_containers_and_codecs_show_the_same_frames(tmp_path, name, film):
    (frames,) = clips_of(write_film(tmp_path / name, counting(12), film))
    assert frames.shape == (4, 32, 32, 3)
    assert numbers_of(frames) == [0, 2, 4, 6]


@pytest.mark.parametrize("fps", [2.0, 2.5, 3.0, 5.0, 7.3, 10.0, 20.0, 29.97])
def test_each_time_gets_the_frame_shown_then(tmp_path, fps):
    """10 frames/s: at time t a viewer sees picture floor(10 t)."""
    (frames,) = clips_of(write_film(tmp_path / "a.mkv", counting(24), LOSSLESS), fps=fps)
    step = 1 / Fraction(fps).limit_denominator(1001)
    assert numbers_of(frames) == [int(10 * i * step) for i in range(4)]


def test_a_changing_rate_is_followed_by_time_not_by_number(tmp_path):
    times = [Fraction(t, 100) for t in (0, 3, 5, 50, 55, 90, 130, 131, 200)]
    path = write_film(tmp_path / "a.mkv", counting(9), LOSSLESS, times)
    (frames,) = clips_of(path, fps=2.0)  # at 0, 0.5, 1 and 1.5 s
    assert numbers_of(frames) == [0, 3, 5, 7]


def test_times_start_at_the_first_frame(tmp_path):
    times = [Fraction(i, 10) + 3 for i in range(12)]
    (frames,) = clips_of(write_film(tmp_path / "a.mkv", counting(12), LOSSLESS, times))
    assert numbers_of(frames) == [0, 2, 4, 6]


def test_clocks_that_round_to_milliseconds_lose_no_frame(tmp_path):
    path = write_film(tmp_path / "a.mkv", counting(9), Film("ffv1", "bgra", Fraction(30), {}))
    (frames,) = clips_of(path, fps=30.0)
    assert numbers_of(frames) == [0, 1, 2, 3]


def test_as_many_clips_as_the_video_holds(tmp_path):
    path = write_film(tmp_path / "a.mkv", counting(24), LOSSLESS)
    found = clips_of(path, clips_per_video=0, stride=0.4)  # a clip lasts 0.8 s, the video 2.4 s
    assert [numbers_of(clip) for clip in found] == [
        [4 * k, 4 * k + 2, 4 * k + 4, 4 * k + 6] for k in range(5)
    ]
    assert len(clips_of(path, clips_per_video=2, stride=0.4)) == 2
    assert len(clips_of(path, clips_per_video=9, stride=0.8)) == 3, "no more than there are"


def test_the_last_frame_counts_for_as_long_as_it_is_shown(tmp_path):
    path = write_film(tmp_path / "a.mp4", counting(7))
    assert numbers_of(clips_of(path)[0]) == [0, 2, 4, 6]
    assert reason_of(write_film(tmp_path / "b.mp4", counting(6))) == "short"


def test_the_stream_that_players_show_is_used(tmp_path):
    """A cover picture comes first, the film is marked as default."""
    path = tmp_path / "two.mkv"
    with av.open(path, "w") as container:
        streams = [container.add_stream("ffv1", rate=10) for _ in range(2)]
        streams[1].disposition = Disposition.default
        for stream, side in zip(streams, (32, 64), strict=True):
            stream.height = stream.width = side
            stream.pix_fmt = "bgra"
        for i in range(8):
            for stream, level in zip(streams, (200, 10 * i + 20), strict=True):
                picture = np.full((stream.height, stream.width, 3), level, np.uint8)
                frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="bgra")
                frame.pts, frame.time_base = i, Fraction(1, 10)
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    assert numbers_of(clips_of(path)[0]) == [0, 2, 4, 6]


def test_a_file_of_sound_only_is_no_video(tmp_path):
    with av.open(tmp_path / "a.mp4", "w") as container:
        stream = container.add_stream("aac", rate=8000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.rate, silence.pts = 8000, 0
        container.mux([*stream.encode(silence), *stream.encode(None)])
    assert reason_of(tmp_path / "a.mp4") == "no_video"


"""Display matrix -> what is shown top left, top right, bottom left and bottom right by FFmpeg."""


def test_a_member_of_a_tar_is_a_file_of_its_own(tmp_path):
    data = bytes(range(256)) * 40
    (tmp_path / "a.tar").write_bytes(data)
    with open_bytes(str(tmp_path / "a.tar"), offset=1000, size=5000, max_bytes=5000) as file:
        assert file.seek(0, os.SEEK_END) == 5000
        assert file.seek(-10, os.SEEK_CUR) == 4990
        assert file.read() == data[5990:6000]
        assert file.seek(17) == 17
        assert file.read(3) == data[1017:1020]
        file.seek(0)
        assert file.read(9999) == data[1000:6000]
    with pytest.raises(VideoError, match="limit of 4999"):
        open_bytes(str(tmp_path / "a.tar"), offset=0, size=5000, max_bytes=4999)
