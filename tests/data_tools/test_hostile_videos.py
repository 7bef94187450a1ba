"""Damaged and hostile videos, and places that may not be read."""

import os
from fractions import Fraction

import av
import numpy as np
import pytest

from data_tools.videos.input_list.locations import open_bytes, resolve
from data_tools.videos.settings import Access, Limits, VideoError
from tests.support.filming import Film, counting, numbers_of, write_film
from tests.support.source_videos import clips_of, reason_of


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_damaged_file_is_an_error_not_a_strange_clip(tmp_path, name):
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 256, (48, 64, 3), dtype=np.uint8) for _ in range(12)]
    path = write_film(tmp_path / name, noise, Film(options={"crf": "10", "g": "4"}))
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(data)
    assert reason_of(path, fps=4.0) in ("decode", "short")


def test_a_playlist_in_disguise_opens_nothing(tmp_path):
    secret = write_film(tmp_path / "secret.ts", counting(12))
    for name, text in {
        "hls.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{secret}\n#EXT-X-ENDLIST\n",
        "concat.mp4": f"ffconcat version 1.0\nfile '{secret}'\n",
        "sdp.mp4": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nt=0 0\nm=video 9 RTP/AVP 96\n",
        "dash.mp4": f"<?xml version='1.0'?><MPD><BaseURL>file://{secret}</BaseURL></MPD>",
    }.items():
        (tmp_path / name).write_text(text)
        assert reason_of(tmp_path / name) == "decode"


def test_bombs_are_refused_by_their_header(tmp_path):
    path = write_film(tmp_path / "wide.mp4", counting(8, 64, 640))
    assert reason_of(path, Limits(max_pixels=640 * 64 - 1)) == "limit"
    assert clips_of(path, Limits(max_pixels=640 * 64))
    assert reason_of(path, Limits(max_seconds=0.5)) == "limit"
    assert reason_of(path, Limits(max_file_mb=0)) == "limit"


def test_a_picture_that_grows_after_the_header_is_refused(tmp_path):
    """A stream may grow; the header describes the small half only."""
    path = tmp_path / "grows.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        large = av.CodecContext.create("mjpeg", "w")
        for encoder, side in ((stream.codec_context, 64), (large, 256)):
            encoder.height = encoder.width = side
            encoder.pix_fmt, encoder.time_base = "yuvj420p", Fraction(1, 10)
        for i in range(12):
            encoder, side = (stream, 64) if i < 4 else (large, 256)
            picture = np.full((side, side, 3), 10 * i + 20, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format="yuvj420p")
            frame.pts, frame.time_base = i, Fraction(1, 10)
            for packet in encoder.encode(frame):
                packet.stream = stream
                container.mux(packet)
    assert numbers_of(clips_of(path)[0]) == [0, 2, 4, 6]
    assert reason_of(path, Limits(max_pixels=128 * 128)) in ("decode", "limit")


@pytest.mark.parametrize(
    "path",
    [
        "../outside.mp4", "a/../../outside.mp4", "/etc/passwd", "file:///etc/passwd",
        "file:/etc/passwd", "local:///etc/passwd", "FILE:///etc/passwd",
    ],
)  # fmt: skip
def test_a_list_may_not_name_files_outside_its_folder(tmp_path, path):
    folder = tmp_path / "list"
    folder.mkdir()
    with pytest.raises(VideoError) as error:
        resolve(path, Access(str(folder)))
    assert error.value.reason == "refused"
    assert "--allow-local" in str(error.value)
    allowed = resolve(path, Access(str(folder), allow_local=True))
    assert allowed in ("/etc/passwd", str(tmp_path / "outside.mp4"))


@pytest.mark.parametrize(
    "path",
    [
        "pipe:cat /etc/passwd", "pipe:1", "simplecache::s3://b/k", "zip://a.mp4::file:///x.zip",
        "memory://x", "ftp://h/x", "ssh://h/x", "github://o:r@/x", "concat:a|b", "data:video/mp4,x",
        "", "a\0b",
    ],
)  # fmt: skip
def test_other_schemes_are_refused_always(tmp_path, path):
    for allow_local in (False, True):
        with pytest.raises(VideoError) as error:
            resolve(path, Access(str(tmp_path), allow_local))
        assert error.value.reason == "refused"


def test_links_out_of_the_folder_are_refused(tmp_path):
    (tmp_path / "list").mkdir()
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    (tmp_path / "list" / "link.mp4").symlink_to(tmp_path / "secret.mp4")
    with pytest.raises(VideoError, match="lies outside the source"):
        resolve("link.mp4", Access(str(tmp_path / "list")))


def test_remote_lists_stay_under_their_root():
    access = Access("s3://bucket/set")
    assert resolve("a/b.mp4", access) == "s3://bucket/set/a/b.mp4"
    assert resolve("https://host/x.mp4", access) == "https://host/x.mp4"
    for path in ("../x.mp4", "/x.mp4", "file:///etc/passwd"):
        with pytest.raises(VideoError):
            resolve(path, access)


def test_pipes_and_devices_are_never_opened(tmp_path):
    os.mkfifo(tmp_path / "a.mp4")
    for path in (tmp_path / "a.mp4", "/dev/zero"):
        with pytest.raises(VideoError) as error:
            open_bytes(str(path), offset=0, size=None, max_bytes=100)
        assert error.value.reason == "refused"
