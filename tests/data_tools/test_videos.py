"""How source videos become clips: shown frames, sizes, colours, prompts, places."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import given
from hypothesis import strategies as st

from data_tools.videos.clips import RowTask, make_clips
from data_tools.videos.fitting import fit_picture
from data_tools.videos.input_list.locations import open_bytes, resolve
from data_tools.videos.input_list.rows import Row
from data_tools.videos.judging import SeenClips, motion_of, perceptual_hash
from data_tools.videos.prompts import clean_prompt
from data_tools.videos.settings import Access, ClipSettings, Limits, PackSettings, VideoError
from t2vgan.data.shards import Geometry, decode_sample
from t2vgan.media.hdr import to_standard_range
from tests.support.filming import Film, counting, numbers_of, write_film

GEOMETRY = Geometry(num_frames=4, height=32, width=32)
CLIPS = {
    "geometry": GEOMETRY,
    "fps": 5.0,
    "clips_per_video": 1,
    "stride": 0.8,
    "fit": "crop",
    "storage": "strip-webp",
    "quality": 90,
    "min_motion": 0.0,
    "drop_duplicates": False,
    "max_prompt_words": 64,
    "seed": 0,
}
LOSSLESS = Film("ffv1", "bgra", options={})


def clips_of(path: Path, limits: Limits = Limits(), **changes) -> list[np.ndarray]:  # noqa: B008
    settings = PackSettings(ClipSettings(**{**CLIPS, **changes}), Access(str(path.parent)), limits)
    samples = make_clips(RowTask(7, Row(path.name, "a test film")), settings)
    return [decode_sample(sample, settings.clips.geometry)[0] for sample in samples]


def reason_of(path: Path, limits: Limits = Limits(), **changes) -> str:  # noqa: B008
    with pytest.raises((VideoError, av.FFmpegError)) as error:
        clips_of(path, limits, **changes)
    return getattr(error.value, "reason", "decode")


# ---- which frame a viewer sees -----------------------------------------------------------------


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


# ---- the picture ------------------------------------------------------------------------------


def quarters(height: int = 64, width: int = 64) -> np.ndarray:
    """Red top left, green top right, blue bottom left, white bottom right."""
    picture = np.zeros((height, width, 3), np.uint8)
    middle, centre = height // 2, width // 2
    picture[:middle, :centre] = (255, 0, 0)
    picture[:middle, centre:] = (0, 255, 0)
    picture[middle:, :centre] = (0, 0, 255)
    picture[middle:, centre:] = 255
    return picture


def corners(frame: np.ndarray) -> list[list[int]]:
    height, width = frame.shape[:2]
    places = [(8, 8), (8, width - 8), (height - 8, 8), (height - 8, width - 8)]
    return [(frame[place] > 127).astype(int).tolist() for place in places]


RED, GREEN, BLUE, WHITE = [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]


ORIENTATIONS = {
    (0, False): [RED, GREEN, BLUE, WHITE],
    (90, False): [GREEN, WHITE, RED, BLUE],  # counterclockwise
    (180, False): [WHITE, BLUE, GREEN, RED],
    (270, False): [BLUE, RED, WHITE, GREEN],
    (0, True): [GREEN, RED, WHITE, BLUE],
    (90, True): [WHITE, GREEN, BLUE, RED],  # transposed along the other diagonal
    (180, True): [BLUE, WHITE, RED, GREEN],  # upside down
    (270, True): [RED, BLUE, GREEN, WHITE],  # transposed
}
"""Display matrix -> what is shown top left, top right, bottom left and bottom right by FFmpeg."""


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize(("rotation", "mirrored"), ORIENTATIONS)
def test_display_matrices_turn_and_mirror(tmp_path, name, rotation, mirrored):
    film = Film(rotation=rotation, mirrored=mirrored)
    path = write_film(tmp_path / name, [quarters(64, 96)] * 8, film)
    (frames,) = clips_of(path, fit="pad")
    rows, columns = (frames[0].max(axis=2) > 60).nonzero()
    bars = (32 - np.ptp(rows) - 1, 32 - np.ptp(columns) - 1)
    assert max(bars) == bars[rotation % 180 == 90] > 8 > min(bars)
    shown = frames[0][rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert corners(shown) == ORIENTATIONS[rotation, mirrored]


@pytest.mark.parametrize(
    ("tags", "height"),
    [
        ({}, 64),
        ({"colorspace": 1}, 64),  # BT.709
        ({"colorspace": 9}, 64),  # BT.2020
        ({"color_range": 2}, 64),  # full
        ({"colorspace": 1, "color_range": 2}, 64),
    ],
)
def test_colours_survive_their_tags(tmp_path, tags, height):
    colour = (200, 80, 40)
    picture = np.full((height, 64, 3), colour, np.uint8)
    film = Film("libx264", "yuv444p", options={"crf": "0"}, tags=tags)
    (frames,) = clips_of(write_film(tmp_path / "a.mkv", [picture] * 8, film))
    assert np.abs(frames.reshape(-1, 3).mean(axis=0) - colour).max() < 3


def test_untagged_high_definition_is_bt709(tmp_path):
    """Encoded by the BT.709 matrix and not tagged, as cameras do."""
    colour = (200, 80, 40)
    picture = np.full((720, 64, 3), colour, np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(
        format="yuv444p", dst_colorspace="ITU709"
    )
    planes = np.stack([np.frombuffer(p, np.uint8).reshape(720, -1)[:, :64] for p in frame.planes])
    path = tmp_path / "a.mkv"
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"crf": "0"})
        stream.height, stream.width, stream.pix_fmt = 720, 64, "yuv444p"
        for i in range(8):
            bare = av.VideoFrame.from_ndarray(planes, "yuv444p")
            bare.pts, bare.time_base = i, Fraction(1, 10)
            container.mux(stream.encode(bare))
        container.mux(stream.encode(None))
    (frames,) = clips_of(path)
    assert np.abs(frames.reshape(-1, 3).mean(axis=0) - colour).max() < 3


def test_transparency_is_laid_on_black(tmp_path):
    picture = np.full((48, 64, 4), 200, np.uint8)
    picture[..., 3] = 128
    (frames,) = clips_of(write_film(tmp_path / "a.mkv", [picture] * 8, LOSSLESS))
    assert set(frames.reshape(-1).tolist()) == {100}


def test_wide_pixels_are_shown_wide(tmp_path):
    """A square of 2:1 pixels is wide: padding adds black bars."""
    white = np.full((64, 64, 3), 255, np.uint8)
    film = Film(aspect=Fraction(2))
    (frames,) = clips_of(write_film(tmp_path / "a.mp4", [white] * 8, film), fit="pad")
    bright = (frames[0, :, 16, 0] > 127).nonzero()[0]
    assert (bright.min(), bright.max()) == (8, 23)


def test_odd_sizes_are_whole(tmp_path):
    path = write_film(tmp_path / "a.mkv", counting(8, 53, 71), LOSSLESS)
    geometry = Geometry(num_frames=4, height=31, width=33)
    for storage in ("strip-webp", "strip-jpg", "mp4"):
        (frames,) = clips_of(path, geometry=geometry, storage=storage)
        assert frames.shape == (4, 31, 33, 3)
        assert numbers_of(frames) == [0, 2, 4, 6]


def test_hdr_is_brought_to_an_ordinary_screen(tmp_path):
    """PQ white paper is near white, not mid grey.

    Its signal is 0.581 (203 cd/m2).
    """
    grey = np.full((64, 64, 3), round(0.581 * 65535), np.uint16)
    tags = {"color_trc": 16, "colorspace": 9, "color_primaries": 9}
    options = {"x265-params": "log-level=none:lossless=1"}
    film = Film("libx265", "yuv444p10le", options=options, tags=tags)
    (frames,) = clips_of(write_film(tmp_path / "a.mp4", [grey] * 8, film))
    assert 240 < frames.mean() < 250
    assert np.ptp(frames.mean(axis=(0, 1, 2))) < 3, "grey stays grey"


def test_the_transfer_functions_pass_their_published_points():
    """Check points of BT.2100.

    PQ 0 is black, 1 is 10,000 cd/m2; HLG 0.5 is a twelfth of scene light.
    """
    levels = np.linspace(0, 65535, 7).astype(np.uint16)
    ramp = np.repeat(levels, 3).reshape(1, 7, 3)
    for transfer in ("SMPTE2084", "ARIB_STD_B67"):
        shown = to_standard_range(ramp, transfer)
        assert (shown[0, 0] == 0).all()
        assert (shown[0, -1] >= 250).all()
        assert (np.diff(shown[0, :, 0].astype(int)) >= 0).all(), "brighter stays brighter"
    hlg_half = to_standard_range(np.full((1, 1, 3), 32768, np.uint16), "ARIB_STD_B67")
    # scene 1/12, luminance gamma 1.2: 1000 * (1/12)**1.2 = 50.7 cd/m2, a quarter of paper white
    assert abs(int(hlg_half[0, 0, 0]) - round(255 * (1.055 * 0.2497 ** (1 / 2.4) - 0.055))) <= 1


def test_area_resampling_is_the_mean_of_the_area():
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    square = Geometry(num_frames=1, height=16, width=24)
    expected = picture.reshape(16, 4, 24, 4, 3).mean(axis=(1, 3))
    assert np.abs(fit_picture(picture, square, "crop") - expected).max() <= 0.5


@given(
    st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 40),
    st.sampled_from(["crop", "random-crop", "pad"]), st.floats(0.2, 5), st.floats(0, 1),
)  # fmt: skip
def test_any_picture_fits_any_size(height, width, out_height, out_width, fit, aspect, place):
    picture = np.full((height, width, 3), 255, np.uint8)
    geometry = Geometry(num_frames=1, height=out_height, width=out_width)
    fitted = fit_picture(picture, geometry, fit, pixel_aspect=aspect, place=(place, 1 - place))
    assert fitted.shape == (out_height, out_width, 3)
    assert fitted.max() == 255
    if fit != "pad":
        assert fitted.min() == 255, "a crop shows nothing but the picture"


def test_random_crops_differ_from_row_to_row_and_never_from_run_to_run(tmp_path):
    ramp = np.tile(np.linspace(0, 255, 200).astype(np.uint8)[None, :, None], (32, 1, 3))
    path = write_film(tmp_path / "a.mkv", [ramp] * 24, LOSSLESS)
    first, second = clips_of(path, fit="random-crop", clips_per_video=2)
    assert np.abs(first.astype(int).mean() - second.mean()) > 5
    assert np.ptp(first.reshape(4, -1).mean(axis=1)) < 1, "all frames of a clip at one place"
    again, _ = clips_of(path, fit="random-crop", clips_per_video=2)
    assert (again == first).all()


# ---- damaged and hostile files -----------------------------------------------------------------


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


# ---- places -----------------------------------------------------------------------------------


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


# ---- prompts and judgements --------------------------------------------------------------------


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
