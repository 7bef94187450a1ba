"""Read folders of other systems' videos: formats, lists and faults."""

import csv
import json

import numpy as np
import pytest

from t2vgan.data.shards import Geometry, Manifest
from t2vgan.errors import UserError
from t2vgan.evaluation.prompt_list import find_prompts
from t2vgan.evaluation.video_folder import (
    UnusableVideoError,
    VideoFolder,
    fit_geometry,
    held_out_prompts,
)
from t2vgan.media import save_clip, save_frame_folder
from tests.support.painting import TIME, paint

RIGHT, DOWN, HELD_OUT = "circle moving right", "circle moving down", "circle moving up"
GEOMETRY = Geometry(num_frames=10, height=64, width=64)
MANIFEST = Manifest.model_construct(
    geometry=GEOMETRY, prompts={RIGHT: 3, DOWN: 3}, held_out_prompts=(HELD_OUT,)
)
CLIP = paint(12 + 40 * TIME, 30)


def write_list(folder, rows):
    lines = "".join(json.dumps({"file": file, "prompt": prompt}) + "\n" for file, prompt in rows)
    (folder / "prompts.jsonl").write_text(lines)


def test_every_format_is_read(tmp_path):
    for suffix in ("gif", "webp", "png", "avi", "mp4"):
        save_clip(tmp_path / f"circle-moving-right-{len(suffix)}{ord(suffix[0])}.{suffix}", CLIP)
    save_frame_folder(tmp_path / "circle-moving-down-0", CLIP)
    source = VideoFolder(tmp_path, MANIFEST)
    assert sorted(source.prompts) == [DOWN] + [RIGHT] * 5
    frames, reports = source.read(range(6))
    videos = source.summarise(reports)
    assert (videos.num_listed, videos.num_readable, videos.problems) == (6, 6, {})
    exact = [name.endswith(("gif", "webp", "png", "down-0")) for name in source.files]
    assert sum(exact) == 4
    for clip, is_exact in zip(frames, exact, strict=True):
        difference = np.abs(clip.astype(int) - CLIP)
        assert difference.max() == 0 if is_exact else difference.mean() < 4


@pytest.mark.parametrize("kind", ["jsonl", "csv", "txt"])
def test_every_kind_of_list_is_read(tmp_path, kind):
    rows = {"a.gif": RIGHT, "deep/b.gif": "a, comma: " + DOWN}
    path = tmp_path / f"prompts.{kind}"
    if kind == "jsonl":
        write_list(tmp_path, rows.items())
    elif kind == "csv":
        with open(path, "w", newline="") as file:
            csv.writer(file).writerows([("prompt", "file"), *((p, f) for f, p in rows.items())])
    else:
        path.write_text("".join(f"{file}\t{prompt}\n" for file, prompt in rows.items()))
    (tmp_path / "deep").mkdir()
    for name in ("a.gif", "deep/b.gif", "deep/c.gif", ".hidden.gif"):
        (tmp_path / name).write_bytes(b"")
    assert find_prompts(tmp_path, []) == (rows, ["deep/c.gif"])


def test_every_fault_is_named_counted_and_scored_as_empty(tmp_path):
    save_clip(tmp_path / "good.webp", CLIP)
    save_clip(tmp_path / "long.webp", np.repeat(CLIP, 2, axis=0))
    save_clip(tmp_path / "large.webp", CLIP.repeat(2, axis=1).repeat(2, axis=2))
    save_clip(tmp_path / "short.webp", CLIP[:7])
    save_clip(tmp_path / "small.webp", CLIP[:, ::2, ::2])
    save_clip(tmp_path / "wide.webp", CLIP.repeat(2, axis=2))
    (tmp_path / "noise.gif").write_bytes(b"GIF89a and no more")
    (tmp_path / "film.mkv").write_bytes(b"")
    save_clip(tmp_path / "extra.gif", CLIP)
    save_clip(tmp_path / "dog.gif", CLIP)
    names = ("good.webp", "long.webp", "large.webp", "short.webp", "small.webp", "wide.webp",
             "noise.gif", "film.mkv", "lost.gif")  # fmt: skip
    write_list(tmp_path, [*((name, RIGHT) for name in names), ("dog.gif", "a dog runs")])
    source = VideoFolder(tmp_path, MANIFEST)
    frames, reports = source.read(range(len(source.prompts)))
    videos = source.summarise(reports)
    counts = {kind: len(texts) for kind, texts in videos.problems.items()}
    assert counts == {
        "extra": 1, "unknown_prompt": 1, "too_short": 1, "wrong_size": 2, "undecodable": 2,
        "missing": 1,
    }  # fmt: skip
    assert videos.problems["too_short"] == ["short.webp: 7 frames, but the data has 10"]
    assert videos.problems["missing"] == ["lost.gif: no such file"]
    assert videos.problems["extra"] == ["extra.gif: no prompt"]
    assert videos.problems["unknown_prompt"] == ["dog.gif: 'a dog runs'"]
    assert (videos.num_listed, videos.num_readable) == (9, 3)
    assert (videos.num_resampled, videos.num_resized) == (1, 1)
    assert np.array_equal(frames[0], CLIP)
    assert np.array_equal(frames[2], CLIP), "doubled pixels average to what they were"
    assert not frames[3:].any()


def test_frames_are_taken_evenly_from_first_to_last():
    long = np.arange(19, dtype=np.uint8)[:, None, None, None] * np.ones((64, 64, 3), np.uint8)
    frames, resampled, resized = fit_geometry(long, GEOMETRY)
    assert frames[:, 0, 0, 0].tolist() == list(range(0, 19, 2))
    assert (resampled, resized) == (True, False)
    odd = Geometry(num_frames=10, height=63, width=64)
    assert fit_geometry(CLIP, odd)[0].shape == (10, 63, 64, 3), "a film's added row is cut off"
    with pytest.raises(UnusableVideoError):
        fit_geometry(CLIP, Geometry(num_frames=10, height=65, width=65))


def test_a_folder_without_anything_to_score_is_refused(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        VideoFolder(tmp_path / "nowhere", MANIFEST)
    save_clip(tmp_path / "cat-1.gif", CLIP)
    with pytest.raises(UserError, match="no video has a prompt: list them"):
        VideoFolder(tmp_path, MANIFEST)
    write_list(tmp_path, [("cat-1.gif", "a cat sleeps")])
    with pytest.raises(UserError, match="knows none of the 1 prompts, such as 'a cat sleeps'"):
        VideoFolder(tmp_path, MANIFEST)
    write_list(tmp_path, [("lost.gif", RIGHT)])
    source = VideoFolder(tmp_path, MANIFEST)
    with pytest.raises(UserError, match=r"no video can be scored, such as lost.gif: no such file"):
        source.summarise(source.read(range(1))[1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"file": "a.gif", "prompt": ""}', "line 1: needs a file and a prompt"),
        ('{"file": "../a.gif", "prompt": "p"}', "line 1: '../a.gif' is not inside the folder"),
        ('{"file": "/a.gif", "prompt": "p"}', "line 1: '/a.gif' is not inside the folder"),
        ('{"file": "a.gif", "prompt": "p"}\n' * 2, "line 2: a.gif is also on line 1"),
        ("a.gif\tp", "line 1: not JSON"),
        (
            '{"file": "a.gif", "prompt": ["p"]}',
            "line 1: 'prompt' is a JSON array, must be a string",
        ),
        ('{"file": 1, "prompt": "p"}', "line 1: 'file' is a JSON number, must be a string"),
        ('{"file": "a.gif", "caption": "p"}', "line 1: needs a file and a prompt; its columns are"),
        ('["a.gif", "p"]', "line 1: a JSON array, must be a JSON object"),
    ],
)
def test_a_bad_line_is_named(tmp_path, text, message):
    (tmp_path / "prompts.jsonl").write_text(text)
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        find_prompts(tmp_path, [])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "csv",
            'file,prompt\na.gif,"one\nb.gif,two\n',
            "line 2 .*: a quote .* is opened and never",
        ),
        ("csv", "file,prompt\na.gif,a cat, a dog\n", "line 2: 3 fields for 2 columns"),
        ("csv", "file;prompt\na.gif;a cat\n", "line 1: .* divided by semicolons"),
        ("csv", "name,prompt\na.gif,a cat\n", "needs a file .*; its columns are name, prompt"),
        ("tsv", "file\tprompt\na.gif\t\n", "line 2: .*; its 'prompt' is empty"),
        ("txt", "a.gif\tone\nb.gif two\n", "line 2: must be a file, one tab and a prompt"),
        ("txt", "a.gif\tone\ttwo\n", "line 1: must be a file, one tab and a prompt"),
    ],
)
def test_a_bad_table_is_one_error_with_its_line(tmp_path, name, text, message):
    (tmp_path / f"prompts.{name}").write_text(text)
    with pytest.raises(UserError, match=message):
        find_prompts(tmp_path, [])


def test_prompts_are_those_of_the_file(tmp_path):
    """Of several lines, and with separators that only look like line ends."""
    prompts = {"a.gif": "circle moving\ndown", "b.gif": "circle\u2028moving up", "c.gif": "a\x85b"}
    path = tmp_path / "prompts.csv"
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([("file", "prompt"), *prompts.items()])
    assert find_prompts(tmp_path, [])[0] == prompts
    path.unlink()
    lines = [json.dumps({"file": f, "prompt": p}, ensure_ascii=False) for f, p in prompts.items()]
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    assert find_prompts(tmp_path, [])[0] == prompts


def test_names_without_a_known_prompt_are_extra(tmp_path):
    for name in ("circle-moving-up-1.gif", "circle-moving-right-2.gif", "notes.md"):
        (tmp_path / name).write_bytes(b"")
    known = ["circle moving up", "circle moving: up", RIGHT]
    extra = ["circle-moving-up-1.gif", "notes.md"]
    assert find_prompts(tmp_path, known) == ({"circle-moving-right-2.gif": RIGHT}, extra)
    (tmp_path / "circle-moving-right-2.mp4").write_bytes(b"")
    with pytest.raises(UserError, match="keep one format"):
        find_prompts(tmp_path, known)


def test_held_out_is_what_no_training_prompt_asks_for():
    prompts = [RIGHT, "the circle moving right", HELD_OUT, "circle shrinking"]
    assert held_out_prompts(prompts, MANIFEST) == [HELD_OUT, "circle shrinking"]
