"""Turn prompts into videos: the command behind generate.py.

Video i of a prompt depends only on seed + i: the same seed gives the same bytes, whichever other
videos are generated.
"""

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import tyro

from t2vgan.errors import UserError
from t2vgan.media import FORMATS, format_rate_note, save_clip, save_frame_folder, slug
from t2vgan.media.resize import Resample, choose_size, resize_frames
from t2vgan.utils import cli
from t2vgan.utils.console import print_stderr, print_stdout
from t2vgan.utils.drawing_limits import check_drawing, check_sides
from t2vgan.utils.files import check_writable
from t2vgan.utils.tables import read_stripped_lines
from t2vgan.utils.untrusted import open_file

if TYPE_CHECKING:
    import numpy as np

    from t2vgan.checkpoint.weights import WeightsInfo
    from t2vgan.pipeline import TextToVideo

MAX_NOTES = 20  # printed about prompts
MAX_VIDEOS = 1_000_000  # per call; all are planned before the first is generated
PRETRAINED = "circles"  # shipped with the package


@dataclass(frozen=True)
class GenerateOptions:
    """Turn prompts into videos.

    Files are called <prompt>-<seed>.<format> and replace existing files of that name. The same seed
    gives the same bytes, whichever other videos are generated.
    """

    prompt: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Prompt, a text that says what the video shows; repeat the option for several. Weights trained
    without captions need none; those trained with caption dropout also accept an empty one."""
    prompts_file: Path | None = None
    """UTF-8 text file with one prompt per line."""
    weights: Path | None = None
    """Shipped weights (circles, shapes, shapes-two, actions), a run folder, weights file, model
    folder or Hugging Face id (owner/name); by default circles."""
    num_videos: int = 1
    """Videos per prompt; video i uses seed + i."""
    seed: int = 0
    """Seed of each prompt's first video."""
    num_frames: int | None = None
    """Frames per video; by default as many as in training. More frames show the same motion in
    finer steps, interpolated smoothly between the trained frames."""
    fps: float | None = None
    """Frames per second; by default the rate of the training clips."""
    format: str = "gif"
    """Output formats: one or more of gif,mp4,avi,webp,png, separated by commas; png writes a folder
    of frames."""
    out: Path = Path("videos")
    """Output folder."""
    truncation: float = 1.0
    """Factor of the latents, from 1 (as in training) down to 0; lower values give more typical but
    less varied videos."""
    scale: int | None = None
    """Factor by which to enlarge the frames."""
    height: int | None = None
    """Height of the frames in pixels, instead of --scale; the width keeps the aspect ratio."""
    resample: Resample = "lanczos"
    """Resampling filter: lanczos is smooth, nearest repeats pixels."""
    strict: bool = False
    """Refuse prompts that are neither training prompts nor held-out prompts."""
    allow_unknown: bool = False
    """Use a prompt as it is, leaving out words that the model never saw, instead of the nearest
    known prompt."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Device to compute on; auto uses a GPU if there is one."""


class Job(NamedTuple):
    """One video to generate."""

    prompt: str
    seed: int
    path: Path
    """Output path without the format's suffix."""


def main() -> None:
    """Generate the videos that the command line asks for."""
    options = cli.parse(GenerateOptions)
    formats = parse_formats(options.format)
    check_numbers(options)
    check_writable(options.out)
    prompts = read_prompts(options)
    jobs = plan_jobs(prompts, options)

    pipeline = load_pipeline(options.weights, options.device)
    read_as = read_with(pipeline, prompts, options)  # before any file is written
    size = choose_frame_size(pipeline, options)
    fps = options.fps or pipeline.info.fps
    for note in filter(None, (format_rate_note(format, fps) for format in formats)):
        print_stderr(note)
    for job, frames in with_progress(generate(pipeline, jobs, read_as, options), len(jobs)):
        resized = resize_frames(frames, size, resample=options.resample)
        for format in formats:
            save(job, resized, format=format, fps=fps)
    print_files(jobs, formats, options.out)


def choose_frame_size(pipeline: "TextToVideo", options: GenerateOptions) -> tuple[int, int]:
    """Return the height and width to save; print them if they change."""
    info = pipeline.info
    num_frames = options.num_frames or info.num_frames
    size = choose_size(
        info.height, info.width, num_frames, scale=options.scale, new_height=options.height
    )
    if size != (info.height, info.width):
        print_stderr(
            f"generated at {info.height}x{info.width}, resized to {size[0]}x{size[1]}"
            f" ({options.resample}), which adds no detail"
        )
    return size


def read_with(
    pipeline: "TextToVideo", prompts: Sequence[str], options: GenerateOptions
) -> dict[str, str]:
    """Return prompt -> the prompt that is used for it; print warnings."""
    from t2vgan.prompts.matching import warn_of_length

    notes = [*filter(None, map(warn_of_length, prompts))]
    if options.allow_unknown:
        pipeline.vocabulary.encode(prompts, allow_unknown=True)  # raises if no word is known
        read_as = dict(zip(prompts, prompts, strict=True))
    else:
        matches = pipeline.match_prompts(prompts, strict=options.strict)
        notes += [match.note for match in matches.values() if match.note]
        read_as = {prompt: match.read_as for prompt, match in matches.items()}
    for note in notes[:MAX_NOTES]:
        print_stderr(f"warning: {note}")
    if len(notes) > MAX_NOTES:
        print_stderr(f"warning: {len(notes) - MAX_NOTES} more such prompts")
    return read_as


@cli.naming_flags("weights")
def load_pipeline(weights: Path | None, device: str) -> "TextToVideo":
    """Load the weights, by default those of circles, onto the device.

    This is the first function that imports PyTorch, which takes seconds.
    """
    print_stderr(f"loading {weights or PRETRAINED}")
    import torch

    from t2vgan.pipeline import TextToVideo
    from t2vgan.utils.arithmetic import set_arithmetic

    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch finds no CUDA device here; try --device cpu")
    on_gpu = device != "cpu" and torch.cuda.is_available()
    set_arithmetic()
    return TextToVideo.from_pretrained(find_file(weights), device="cuda" if on_gpu else "cpu")


def generate(
    pipeline: "TextToVideo", jobs: Sequence[Job], read_as: dict[str, str], options: GenerateOptions
) -> Iterator[tuple[Job, "np.ndarray"]]:
    """Yield each job with its frames as they are generated."""
    clips = pipeline.iter_clips(
        [read_as[job.prompt] for job in jobs],
        [job.seed for job in jobs],
        num_frames=options.num_frames,
        truncation=options.truncation,
        allow_unknown=True,
    )
    yield from zip(jobs, clips, strict=True)


def save(job: Job, frames: "np.ndarray", *, format: str, fps: float) -> None:
    """Write one video in one format; UserError if that fails."""
    try:
        if format == "png":
            save_frame_folder(job.path, frames)
        else:
            save_clip(f"{job.path}.{format}", frames, fps=fps)
    except OSError as error:
        raise UserError(f"{job.path}.{format}: cannot be written: {error.strerror}") from error


def with_progress(items: Iterator, total: int) -> Iterator:
    """Yield the items; show a progress bar after two seconds."""
    from tqdm import tqdm

    return tqdm(items, total=total, desc="generating", unit=" clips", delay=2)


def print_files(jobs: Sequence[Job], formats: Sequence[str], out: Path) -> None:
    """Print the paths of the written files."""
    suffixes = ["/frame_*.png" if format == "png" else f".{format}" for format in formats]
    files = [f"{job.path}{suffix}" for job in jobs for suffix in suffixes]
    num_shown = len(files) if len(files) <= 12 else 6
    for file in files[:num_shown]:
        print_stdout(file)
    if num_shown < len(files):
        print_stdout(f"... and {len(files) - num_shown} more in {out}")


def plan_jobs(prompts: Sequence[str], options: GenerateOptions) -> list[Job]:
    """List the videos; UserError for too many, or equal file names."""
    if (total := len(prompts) * options.num_videos) > MAX_VIDEOS:
        raise UserError(
            f"--num-videos {options.num_videos}: {total:,} videos are too many for a call (at most"
            f" {MAX_VIDEOS:,}); divide them over several calls with different --seed"
        )
    prompt_of: dict[str, str] = {}
    for prompt in prompts:
        if slug(prompt) in prompt_of:
            raise UserError(
                f"prompts {prompt_of[slug(prompt)]!r} and {prompt!r} would share the file name "
                f"{slug(prompt)}-{options.seed}; remove one, or use another --out for it"
            )
        prompt_of[slug(prompt)] = prompt
    return [
        Job(prompt, seed, options.out / f"{slug(prompt)}-{seed}")
        for prompt in prompts
        for seed in range(options.seed, options.seed + options.num_videos)
    ]


def read_prompts(options: GenerateOptions) -> list[str]:
    """Return the distinct prompts asked for; UserError if there are none."""
    prompts = list(options.prompt)
    if options.prompts_file is not None:
        with open_file(options.prompts_file) as file:
            lines = read_stripped_lines(file, f"--prompts-file {options.prompts_file}")
        prompts += filter(None, lines)
    if not prompts and options.prompts_file is None and is_unconditional(options):
        return [""]
    if not prompts:
        raise UserError(f"no prompt: give --prompt or --prompts-file; {list_known(options)}")
    unique = list(dict.fromkeys(prompts))
    if len(unique) < len(prompts):
        print_stderr(f"note: {len(prompts) - len(unique)} repeated prompts are left out")
    return unique


def is_unconditional(options: GenerateOptions) -> bool:
    """Return whether the weights were trained without captions."""
    return read_info(options).prompts == ("",)


@cli.naming_flags("weights")
def read_info(options: GenerateOptions) -> "WeightsInfo":
    """Read the weights' description."""
    from t2vgan.checkpoint.weights import load_weights_info

    return load_weights_info(find_file(options.weights))


def find_file(weights: Path | None) -> Path:
    """Find the weights, by default those shipped as PRETRAINED."""
    from t2vgan.checkpoint.weights import list_shipped_weights
    from t2vgan.pipeline import find_pretrained

    return list_shipped_weights()[PRETRAINED] if weights is None else find_pretrained(weights)


def list_known(options: GenerateOptions) -> str:
    """Return a text that names some training prompts of the weights."""
    info = read_info(options)
    some = ", ".join(map(repr, info.prompts[:4]))
    return f"these weights know {len(info.prompts)} prompts, such as {some}"


def parse_formats(text: str) -> list[str]:
    """Return the formats in a list such as "gif,mp4", without repetitions."""
    formats = [part.strip().lower() for part in text.split(",")]
    for format in formats:
        if format not in FORMATS:
            near = difflib.get_close_matches(format, FORMATS, n=1, cutoff=0.4)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UserError(f"--format {text}: {format!r} must be one of {','.join(FORMATS)}{hint}")
    return list(dict.fromkeys(formats))


def check_numbers(options: GenerateOptions) -> None:
    """Raise UserError for numbers out of range."""
    check_drawing(
        num_videos=options.num_videos,
        seed=options.seed,
        num_frames=options.num_frames,
        truncation=options.truncation,
        as_flags=True,
    )
    check_sides(scale=options.scale, height=options.height, as_flags=True)
    if options.fps is not None and not 0.1 <= options.fps <= 1000:
        raise UserError(f"--fps {options.fps:g}: must be between 0.1 and 1000")
