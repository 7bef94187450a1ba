"""Generate the films of a request, and measure what they show."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from t2vgan.demo.prompt_notes import KnownPrompts, Note
from t2vgan.errors import UserError
from t2vgan.evaluation.prompt_accuracy.attributes import classify_objects, match_objects
from t2vgan.evaluation.prompt_accuracy.prompts import expected_objects
from t2vgan.evaluation.prompt_accuracy.select import select_tracker
from t2vgan.media import encode_clip, slug
from t2vgan.media.resize import Resample
from t2vgan.pipeline import TextToVideo, Videos
from t2vgan.prompts.matching import PromptMatch
from t2vgan.utils.frozen import Frozen

MAX_PROMPT_LENGTH = 300
MAX_VIDEOS = 8
MAX_FRAMES = 64
MAX_SCALE = 16
MAX_SEED = 2**53 - 2  # exact in a browser's numbers; a walk also uses the next seed
MAX_PIXELS = 2**25  # all frames of an answer: ten seconds of one core, 100 MB
DEFAULT_HEIGHT = 256  # approximate height of a film on the page

Prompt = Annotated[str, Field(max_length=MAX_PROMPT_LENGTH)]


class DrawRequest(Frozen):
    """A visitor's request, within limits."""

    prompt: Prompt
    other_prompt: Prompt = ""
    """The second prompt, or empty."""
    mode: Literal["videos", "walk"] = "videos"
    """Films of each prompt, or steps of a walk from one prompt or seed to the next."""
    num_videos: Annotated[int, Field(ge=1, le=MAX_VIDEOS)] = 1
    """Number of films per prompt, or of steps of the walk."""
    num_frames: Annotated[int, Field(ge=1, le=MAX_FRAMES)]
    seed: Annotated[int, Field(ge=0, le=MAX_SEED - MAX_VIDEOS)] = 0
    truncation: Annotated[float, Field(ge=0, le=1)] = 1.0
    scale: Annotated[int, Field(ge=1, le=MAX_SCALE)] = 1
    resample: Resample = "lanczos"

    @property
    def prompts(self) -> list[str]:
        """The first and, if there is one, the second prompt."""
        return [self.prompt, *filter(str.strip, [self.other_prompt])]


@dataclass(frozen=True)
class MeasuredAttribute:
    """The meter's reading of one attribute of one object."""

    attribute: str
    asked: str
    seen: str


@dataclass(frozen=True, eq=False)
class Film:
    """One film, in the formats that a visitor can save."""

    label: str
    name: str
    """File name without a suffix."""
    gif: bytes
    mp4: bytes
    readings: tuple[MeasuredAttribute, ...] = ()


@dataclass(frozen=True, eq=False)
class FilmRow:
    """The films of one prompt, or of a walk."""

    title: str
    notes: tuple[Note, ...]
    films: tuple[Film, ...]


def draw_rows(pipe: TextToVideo, known: KnownPrompts, request: DrawRequest) -> list[FilmRow]:
    """Generate the requested films.

    There is one row of films per prompt, or one row for a walk. An unknown prompt is replaced by
    the nearest known one; a note says so.

    Raises:
        UserError: a prompt has no known word, or the films have too many pixels in total.
    """
    check_pixels(pipe, request)
    draw = draw_walk if request.mode == "walk" else draw_each_prompt
    return draw(pipe, known, request)


def check_pixels(pipe: TextToVideo, request: DrawRequest) -> None:
    """Raise UserError if the answer would be too large."""
    num_rows = 1 if request.mode == "walk" else len(request.prompts)
    num_frames = num_rows * request.num_videos * request.num_frames
    if num_frames * pipe.info.height * pipe.info.width * request.scale**2 > MAX_PIXELS:
        raise UserError(
            f"{num_rows * request.num_videos} videos of {request.num_frames} frames enlarged "
            f"{request.scale} times are too large for one request: use fewer or smaller ones"
        )


def draw_each_prompt(pipe: TextToVideo, known: KnownPrompts, request: DrawRequest) -> list[FilmRow]:
    """Generate a row for each prompt, with the same seeds."""
    seeds = range(request.seed, request.seed + request.num_videos)
    matches = pipe.match_prompts(request.prompts)
    prompts = [matches[prompt].read_as for prompt in request.prompts for _ in seeds]
    frames = pipe.generate(
        prompts,
        [seed for _ in request.prompts for seed in seeds],
        num_frames=request.num_frames,
        truncation=request.truncation,
        allow_unknown=True,
        batch_size=1,  # avoids the search for the largest one
    )
    by_prompt = np.split(frames, len(request.prompts))
    rows = []
    for prompt, clips in zip(request.prompts, by_prompt, strict=True):
        match = matches[prompt]
        readings, notes = read_clips(clips, choose_asked(match), known.scored)
        films = [
            encode_film(pipe, request, clip, f"seed {seed}", f"{slug(prompt)}-{seed}", reading)
            for clip, seed, reading in zip(clips, seeds, readings, strict=True)
        ]
        rows.append(FilmRow(prompt, (*known.describe(match), *notes), tuple(films)))
    return rows


def choose_asked(match: PromptMatch) -> str:
    """Return the prompt to score by: the visitor's, if known."""
    return match.prompt if expected_objects(match.prompt) else match.read_as


def draw_walk(pipe: TextToVideo, known: KnownPrompts, request: DrawRequest) -> list[FilmRow]:
    """Generate the steps from one prompt, or seed, to the next."""
    matches = pipe.match_prompts(request.prompts)
    start, end = (matches[prompt].read_as for prompt in (request.prompt, request.prompts[-1]))
    last_seed = request.seed + (len(request.prompts) == 1)
    videos = pipe.interpolate(
        start,
        end,
        num_videos=request.num_videos,
        seed_a=request.seed,
        seed_b=last_seed,
        num_frames=request.num_frames,
        truncation=request.truncation,
        allow_unknown=True,
        batch_size=1,
    )
    first, last = (choose_asked(matches[p]) for p in (request.prompt, request.prompts[-1]))
    readings, notes = read_walk(videos, first, last, known.scored)
    shares = np.linspace(0, 100, len(videos))
    films = [
        encode_film(pipe, request, clip, f"{share:.0f} %", f"walk-{number}", reading)
        for number, (clip, share, reading) in enumerate(zip(videos, shares, readings, strict=True))
    ]
    title = f"{request.prompt}, seed {request.seed}  →  {request.prompts[-1]}, seed {last_seed}"
    described = dict.fromkeys(n for match in matches.values() for n in known.describe(match))
    return [FilmRow(title, (*described, *notes), tuple(films))]


def read_walk(
    videos: Videos, start: str, end: str, scored: Sequence[str]
) -> tuple[list[tuple[MeasuredAttribute, ...]], list[Note]]:
    """Measure the steps of a walk that show a single prompt."""
    if start == end:
        return read_clips(videos.frames, start, scored)
    (first,), notes = read_clips(videos.frames[:1], start, scored)
    (last,), more_notes = read_clips(videos.frames[-1:], end, scored)
    between: list[tuple[MeasuredAttribute, ...]] = [()] * (len(videos) - 2)
    return [first, *between, last], list(dict.fromkeys([*notes, *more_notes]))


def read_clips(
    frames: np.ndarray, prompt: str, scored: Sequence[str]
) -> tuple[list[tuple[MeasuredAttribute, ...]], list[Note]]:
    """Measure the scored attributes that the prompt names in clips.

    The clips are (N, T, H, W, 3) uint8. Returns the readings of each clip, and a note if the meter
    cannot read clips of this prompt.
    """
    expected = expected_objects(prompt)
    if expected is None:
        text = "The meter reads only prompts of the rendered scenes, so nothing is measured here."
        return [()] * len(frames), [Note(text)]
    try:
        tracker = select_tracker([prompt])
    except UserError as error:
        return [()] * len(frames), [Note(f"Nothing is measured: {error}")]
    return [
        tuple(
            MeasuredAttribute(name, value, seen.get(name, "none"))
            for asked, seen in zip(expected, match_objects(expected, objects), strict=True)
            for name, value in asked.items()
            if name in scored
        )
        for objects in classify_objects(tracker(frames))
    ], []


def encode_film(
    pipe: TextToVideo,
    request: DrawRequest,
    frames: np.ndarray,
    label: str,
    name: str,
    readings: tuple[MeasuredAttribute, ...],
) -> Film:
    """Enlarge and encode one clip, (T, H, W, 3) uint8."""
    clip = Videos(frames[np.newaxis], (name,), pipe.info.fps)
    (enlarged,) = clip.resize(scale=request.scale, resample=request.resample)
    gif, mp4 = (encode_clip(enlarged, format=format, fps=clip.fps) for format in ("gif", "mp4"))
    return Film(label, name, gif, mp4, readings)


def choose_scale(height: int) -> int:
    """Return the factor that enlarges films to about the default height."""
    return max(1, min(MAX_SCALE, DEFAULT_HEIGHT // height))
