import numpy as np
import pytest
from pydantic import ValidationError

from t2vgan.demo.films import (
    MAX_FRAMES,
    MAX_PROMPT_LENGTH,
    MAX_SCALE,
    MAX_SEED,
    MAX_VIDEOS,
    DrawRequest,
    MeasuredAttribute,
    choose_scale,
    draw_rows,
    read_clips,
)
from t2vgan.demo.prompt_notes import KnownPrompts
from t2vgan.errors import UserError
from t2vgan.evaluation.prompt_accuracy.prompts import ATTRIBUTES
from t2vgan.media import encode_clip
from t2vgan.media.resize import resize_frames
from t2vgan.pipeline import TextToVideo
from tests.support.pipelines import load


@pytest.fixture(scope="module")
def tiny():
    """A pipeline of random weights, 5 frames of 16x24."""
    return load("clip_gan")


def draw(pipe, **fields):
    request = DrawRequest(**{"num_frames": pipe.info.num_frames} | fields)
    return draw_rows(pipe, KnownPrompts.from_info(pipe.info), request)


@pytest.mark.parametrize("resample", ["lanczos", "nearest"])
def test_films_are_the_pipelines_enlarged_with_the_same_seeds_for_each_prompt(tiny, resample):
    prompts = ["circle shrinking", "circle moving up-right"]
    rows = draw(
        tiny, prompt=prompts[0], other_prompt=prompts[1], num_videos=2, num_frames=7, seed=11,
        truncation=0.5, scale=3, resample=resample,
    )  # fmt: skip
    assert [row.title for row in rows] == prompts
    for row in rows:
        clips = tiny.generate([row.title] * 2, [11, 12], num_frames=7, truncation=0.5, batch_size=1)
        for film, clip in zip(row.films, clips, strict=True):
            enlarged = resize_frames(clip, (48, 72), resample=resample)
            assert film.gif == encode_clip(enlarged, format="gif", fps=tiny.info.fps)
            assert film.mp4 == encode_clip(enlarged, format="mp4", fps=tiny.info.fps)
        assert [film.label for film in row.films] == ["seed 11", "seed 12"]
    names = [film.name for row in rows for film in row.films]
    assert names == [f"{slug}-{n}" for slug in ("circle-shrinking", "circle-moving-up-right")
                     for n in (11, 12)]  # fmt: skip


@pytest.mark.parametrize(
    ("prompts", "last_seed"),
    [(("circle shrinking", "circle moving up-right"), 4), (("circle shrinking", ""), 5)],
)
def test_a_walk_leads_from_prompt_to_prompt_or_from_seed_to_seed(tiny, prompts, last_seed):
    (row,) = draw(
        tiny, prompt=prompts[0], other_prompt=prompts[1], mode="walk", num_videos=3, seed=4
    )
    (first,) = draw(tiny, prompt=prompts[0], seed=4)
    (last,) = draw(tiny, prompt=prompts[1] or prompts[0], seed=last_seed)
    assert [film.label for film in row.films] == ["0 %", "50 %", "100 %"]
    assert row.films[0].gif == first.films[0].gif
    assert row.films[2].gif == last.films[0].gif
    assert row.films[1].gif not in (first.films[0].gif, last.films[0].gif)


@pytest.mark.parametrize(
    ("weights", "prompt", "asked"),
    [
        ("circles", "circle moving down", {"motion"}),
        ("shapes", "a small red star moving up", {"shape", "motion", "colour", "size"}),
        ("shapes", "a small star moving up", {"shape", "motion", "size"}),
    ],
)
def test_the_meter_reads_what_the_prompt_names_and_the_evaluation_scores(weights, prompt, asked):
    (row,) = draw(TextToVideo.from_pretrained(weights), prompt=prompt, num_videos=3)
    for film in row.films:
        assert {reading.attribute for reading in film.readings} == asked
        assert all(reading.seen == reading.asked for reading in film.readings)


def test_a_clip_of_another_motion_is_read_as_what_it_shows():
    pipe = TextToVideo.from_pretrained("circles")
    clips = pipe.generate(["circle moving down", "circle shrinking"], [0, 0])
    readings, notes = read_clips(clips, "circle moving left", ["motion"])
    assert notes == []
    assert [reading for (reading,) in readings] == [
        MeasuredAttribute("motion", "left", "down"),
        MeasuredAttribute("motion", "left", "shrinking"),
    ]


def test_both_objects_of_a_prompt_are_read_or_missing():
    prompt = "a small red circle moving up and a large blue square moving left"
    empty = np.full((1, 8, 32, 32, 3), 255, np.uint8)
    ((*readings,),), _ = read_clips(empty, prompt, ATTRIBUTES)
    assert [reading.asked for reading in readings if reading.attribute == "colour"] == [
        "red",
        "blue",
    ]
    assert {reading.seen for reading in readings} == {"none"}


@pytest.mark.parametrize("prompt", ["a cat on a mat", "", "circle moving"])
def test_prompts_without_a_meter_have_a_note_instead(prompt):
    readings, notes = read_clips(np.zeros((2, 4, 16, 16, 3), np.uint8), prompt, ATTRIBUTES)
    assert readings == [(), ()]
    assert "nothing is measured" in notes[0].text


def test_the_ends_of_a_walk_are_read_by_their_own_prompts():
    pipe = TextToVideo.from_pretrained("circles")
    (row,) = draw(
        pipe, prompt="circle moving up", other_prompt="circle shrinking", mode="walk", num_videos=4
    )
    motions = [[r.asked for r in film.readings if r.attribute == "motion"] for film in row.films]
    assert motions == [["up"], [], [], ["shrinking"]]


@pytest.mark.parametrize(
    "fields",
    [
        {"prompt": "a" * (MAX_PROMPT_LENGTH + 1)},
        {"other_prompt": "a" * (MAX_PROMPT_LENGTH + 1)},
        {"prompt": None},
        {"num_videos": 0},
        {"num_videos": MAX_VIDEOS + 1},
        {"num_videos": float("nan")},
        {"num_frames": 0},
        {"num_frames": MAX_FRAMES + 1},
        {"num_frames": 1e308},
        {"seed": -1},
        {"seed": MAX_SEED + 1},
        {"truncation": -0.1},
        {"truncation": 1.1},
        {"truncation": float("nan")},
        {"scale": 0},
        {"scale": MAX_SCALE + 1},
        {"resample": "cubic"},
        {"mode": "walk<script>"},
        {"height": 512},
    ],
)
def test_requests_beyond_the_limits_are_refused_by_name(fields):
    with pytest.raises(ValidationError) as caught:
        DrawRequest(**{"prompt": "circle", "num_frames": 5} | fields)
    assert [error["loc"] for error in caught.value.errors()] == [(next(iter(fields)),)]


def test_the_largest_seed_is_drawn(tiny):
    (row,) = draw(tiny, prompt="circle moving", num_videos=2, seed=MAX_SEED - MAX_VIDEOS)
    assert len(row.films) == 2


@pytest.mark.parametrize("mode", ["videos", "walk"])
def test_films_that_are_too_large_together_are_refused(tiny, mode):
    fields = {"mode": mode, "num_videos": 8, "num_frames": 64, "scale": 16}
    with pytest.raises(UserError, match="8 videos of 64 frames enlarged 16 times are too large"):
        draw(tiny, prompt="circle moving up", **fields)


@pytest.mark.parametrize("prompt", ["", "   ", "!?", "zebra", "<b>bold</b>"])
def test_prompts_without_a_known_word_are_refused(tiny, prompt):
    with pytest.raises(UserError, match=r"no words|no word that the model knows"):
        draw(tiny, prompt=prompt)


def test_prompts_in_other_words_are_read_as_known_ones_and_named(tiny):
    (row,) = draw(tiny, prompt="circle shrinking quickly")
    (plain,) = draw(tiny, prompt="circle shrinking")
    assert row.films[0].gif == plain.films[0].gif
    assert any("unknown: quickly" in note.text and note.is_warning for note in row.notes)


def test_scales_make_films_about_as_large_as_the_page_shows_them():
    assert [choose_scale(height) for height in (1, 16, 32, 64, 96, 256, 1024)] == [
        16, 16, 8, 4, 2, 1, 1,
    ]  # fmt: skip
