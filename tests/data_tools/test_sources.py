"""Every file of a folder is a row, or has its reason."""

import json
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from data_tools.videos.input_list.file_kinds import HEAD_BYTES, is_video
from t2vgan.errors import UserError
from tests.support.filming import Film, counting, write_film
from tests.support.sources import (
    FILM,
    captions_of,
    manifest_of,
    problems_of,
    read,
    reasons_of,
    samples,
    write_tar,
)

# ---- folders ------------------------------------------------------------------------------------


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"caption {name}".encode() if name.endswith(".txt") else FILM)
    return folder


def test_every_file_is_a_row_or_has_its_reason(tmp_path):
    films = ["a.mp4", "b.VOB", "c.strange", "Mr.Bean.mp4", "v1.0_clip", "d/e.mp4"]
    texts = ["a.txt", "b.txt", "c.mp4.txt", "Mr.Bean.txt", "v1.0_clip.txt", "d/e.mp4.txt"]
    fill(tmp_path, *films, *texts[:2], "c.txt", *texts[3:])
    strange = {
        "._a.mp4": "AppleDouble", ".Trash-1000/files/x.mp4": "hidden", ".x.mp4": "hidden",
        "__MACOSX/a.mp4": "system folder", "$RECYCLE.BIN/x.mp4": "system folder",
        "lonely.txt": "a caption without a video", "picture.jpg": "not a video",
        "notes.doc": "not a video",
        "captions.csv": "a table, which is read only if it is the source",
    }  # fmt: skip
    fill(tmp_path, *strange)
    (tmp_path / "notes.doc").write_bytes(b"words")
    source = read(tmp_path)
    assert sorted(captions_of(source)) == sorted(films)
    assert not problems_of(source)
    found = reasons_of(source)
    assert set(found) == set(strange)
    for name, reason in strange.items():
        assert reason in found[name]


CONTAINERS = {
    "mp4": "mpeg4", "3gp": "mpeg4", "mov": "mpeg4", "flv": "flv", "avi": "mpeg4", "asf": "mpeg4",
    "matroska": "mpeg4", "webm": "libvpx", "mpegts": "mpeg2video", "vob": "mpeg2video",
    "mpeg": "mpeg1video", "mxf": "mpeg2video", "mpeg1video": "mpeg1video", "gif": "gif",
    "f4v": "libx264",
}  # fmt: skip


@pytest.mark.parametrize("format", CONTAINERS)
def test_a_video_is_known_by_its_content(tmp_path, format):
    codec = CONTAINERS[format]
    path = tmp_path / "film"
    with av.open(path, "w", format=format) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = 48, 64
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for i, picture in enumerate(counting(12)):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24").reformat(format=stream.pix_fmt)
            frame.pts, frame.time_base = i, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert is_video(path.read_bytes()[:HEAD_BYTES])


@pytest.mark.parametrize(
    ("format", "codec"),
    [("matroska", "aac"), ("ogg", "libopus"), ("asf", "aac"), ("ipod", "aac"), ("wav", "pcm_s16le"),
     ("mp3", "libmp3lame"), ("flac", "flac")],
)  # fmt: skip
def test_sound_is_no_video(tmp_path, format, codec):
    path = tmp_path / "sound"
    with av.open(path, "w", format=format) as container:
        stream = container.add_stream(codec, rate=48000, layout="mono")
        silence = np.zeros((1, 960), np.int16)
        frame = av.AudioFrame.from_ndarray(silence, "s16", "mono")
        frame.rate, frame.pts = 48000, 0
        resampled = av.AudioResampler(stream.format, "mono", 48000).resample(frame)
        for part in (*resampled, None):
            container.mux(stream.encode(part))
    assert not is_video(path.read_bytes()[:HEAD_BYTES])


@pytest.mark.parametrize("data", [b"", b"G" * 5, b"\x89PNG\r\n\x1a\n" + bytes(99), b"words " * 99])
def test_other_files_are_no_videos(data):
    assert not is_video(data)


# ---- links and pipes ----------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path) -> Path:
    """Files beside the source."""
    folder = fill(tmp_path / "outside", "x.mp4", "x.txt", "secret.txt")
    (folder / "metadata.csv").write_text("video,prompt\nx.mp4,a secret\n")
    write_tar(folder / "0.tar", samples(0, 2))
    return folder


def test_no_caption_is_read_through_a_link_that_leads_out(tmp_path, outside):
    folder = fill(tmp_path / "in", "a.mp4", "b.mp4", "c.mp4", "words.txt")
    (folder / "a.txt").symlink_to("/etc/passwd")
    (folder / "b.txt").symlink_to(outside / "secret.txt")
    (folder / "c.txt").symlink_to("words.txt")
    source = read(folder)
    assert captions_of(source) == {"c.mp4": "caption words.txt"}
    assert all("lies outside the source; --allow-local" in p for p in problems_of(source))
    assert "passwd" not in json.dumps([row.prompt for row in source.rows])
    assert captions_of(read(folder, allow_local=True))["b.mp4"] == "caption secret.txt"


@pytest.mark.parametrize("name", ["metadata.csv", "prompts.txt", "videos.txt", "0.tar"])
def test_no_list_and_no_tar_is_read_through_a_link_that_leads_out(tmp_path, outside, name):
    folder = fill(tmp_path / "in", "a.mp4")
    if name in ("prompts.txt", "videos.txt"):
        (folder / "videos.txt").write_text("a.mp4\n")
        (folder / "prompts.txt").write_text("a film\n")
        (folder / name).rename(outside / name)
    elif name == "0.tar":
        (folder / "a.mp4").unlink()
    (folder / name).symlink_to(outside / name)
    if name == "0.tar":
        assert "lies outside the source" in problems_of(read(folder))[0]
        assert not captions_of(read(folder))
    else:
        with pytest.raises(UserError, match="lies outside the source; --allow-local permits it"):
            read(folder)
    assert captions_of(read(folder, allow_local=True))
    if name != "prompts.txt":
        assert captions_of(read(folder / name)), "it is named by the user"


def test_linked_folders_are_listed_or_named(tmp_path, outside):
    folder = fill(tmp_path / "in", "a.mp4", "a.txt", ".store/b.mp4", ".store/b.txt")
    (outside / "0.tar").unlink()
    for name, target in {
        "out": outside, "self": ".", "again": "more", "shown": ".store", "up": "..",
    }.items():  # fmt: skip
        (folder / name).symlink_to(target)
    fill(folder, "more/c.mp4", "more/c.txt")
    found = reasons_of(source := read(folder))
    assert sorted(captions_of(source)) == ["a.mp4", "more/c.mp4", "shown/b.mp4"]
    assert "--allow-local permits it" in found["out"]
    assert "--allow-local permits it" in found["up"]
    assert "listed elsewhere" in found["self"]
    assert "listed elsewhere" in found["again"]
    (folder / "up").unlink()
    assert "out/x.mp4" in captions_of(read(folder, allow_local=True))


def test_pipes_are_never_waited_for(tmp_path):
    folder = fill(tmp_path / "in", "a.mp4", "b.mp4", "b.txt")
    os.mkfifo(folder / "a.txt")
    os.mkfifo(folder / "unknown")
    source = read(folder)
    assert captions_of(source) == {"b.mp4": "caption b.txt"}
    assert "no caption: a.txt: not a regular file" in problems_of(source)
    assert "not a regular file" in reasons_of(source)["unknown"]
    os.mkfifo(folder / "metadata.csv")
    assert len(read(folder).rows) == 2, "a pipe is no list"


# ---- data sets inside the source ----------------------------------------------------------------


def test_data_sets_made_inside_the_source_are_passed_over(tmp_path):
    folder = fill(tmp_path / "in", "a.mp4", "a.txt")
    write_tar(folder / "done" / "videos-000000.tar", samples(0, 2))
    (folder / "done" / "manifest.json").write_text(json.dumps(manifest_of("videos-000000.tar", 2)))
    write_tar(folder / "begun" / "videos-000000.tar", samples(0, 2))
    (folder / "begun" / ".build_journal.jsonl").write_text("{}\n")
    source = read(folder)
    assert list(captions_of(source)) == ["a.mp4"]
    assert "wrote inside the source" in reasons_of(source)["begun/videos-000000.tar"]
    assert len(read(folder / "done").rows) == 2, "and is a source of its own"
    (folder / "a.mp4").unlink()
    assert len(read(folder).rows) == 4, "or a part of one"
    fill(folder, "a.mp4")
    write_tar(folder / "others" / "0.tar", samples(0, 2))
    with pytest.raises(UserError, match=r"has both tars and videos \(others/0.tar, a.mp4\)"):
        read(folder)


def test_a_source_of_hidden_files_says_so(tmp_path):
    fill(tmp_path / "in", ".Trash-1000/a.mp4")
    with pytest.raises(UserError, match=r"has no videos; .*1 ignored: hidden, e\.g\. \.Trash"):
        read(tmp_path / "in")


def test_films_written_for_real_are_rows(tmp_path):
    """A film of another name is a row."""
    write_film(tmp_path / "a.mp4", counting(4), Film("mpeg4", options={}))
    (tmp_path / "a.mp4").rename(tmp_path / "a.backup")
    (tmp_path / "a.txt").write_text("a film")
    assert captions_of(read(tmp_path)) == {"a.backup": "a film"}
