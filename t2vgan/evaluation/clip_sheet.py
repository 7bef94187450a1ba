"""Save a picture of some scored clips next to the record."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from t2vgan.errors import UserError
from t2vgan.evaluation.generated_clips import GeneratedClips
from t2vgan.evaluation.video_folder import VideoFolder
from t2vgan.media import film_strips, save_clip
from t2vgan.utils.console import format_error
from t2vgan.utils.files import sha256_of
from t2vgan.utils.frozen import Frozen

NUM_TRAINED, NUM_HELD_OUT = 8, 4


class ClipSheet(Frozen):
    """A picture of film strips, one row per prompt."""

    file: str
    """Name of the picture, which is next to the record."""
    sha256: str
    prompts: list[str]
    held_out_prompts: list[str]


def save_clip_sheet(
    file: Path, source: GeneratedClips | VideoFolder, is_readable: np.ndarray
) -> tuple[ClipSheet | None, list[str]]:
    """Save the first readable clip of some prompts, held-out ones last.

    Returns the sheet and notes; if the picture cannot be written, there is a note instead of an
    error.
    """
    first: dict[str, int] = {}
    for index in np.flatnonzero(is_readable).tolist():
        first.setdefault(source.prompts[index], index)
    held_out = choose_prompts(first.keys() & set(source.held_out), NUM_HELD_OUT)
    chosen = choose_prompts(first.keys() - set(source.held_out), NUM_TRAINED) + held_out
    frames, _ = source.read([first[prompt] for prompt in chosen])
    try:
        save_clip(file, film_strips(frames)[None])
        checksum = sha256_of(file)
    except (UserError, OSError) as error:
        return None, [f"picture: {format_error(error)}"]
    return ClipSheet(file=file.name, sha256=checksum, prompts=chosen, held_out_prompts=held_out), []


def choose_prompts(prompts: Iterable[str], num_prompts: int) -> list[str]:
    """Choose prompts by hash, so that different systems' sheets show the same."""
    by_hash = sorted(prompts, key=lambda prompt: hashlib.sha256(prompt.encode()).digest())
    return by_hash[:num_prompts]
