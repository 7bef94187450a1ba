"""A few of the clips that were scored, for people: a picture beside the record."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from t2vgan.errors import UserError
from t2vgan.evaluation.generated_clips import DrawnClips
from t2vgan.evaluation.video_folder import VideoFolder
from t2vgan.media import film_strips, save_clip
from t2vgan.utils.console import format_error
from t2vgan.utils.files import sha256_of
from t2vgan.utils.frozen import Frozen

NUM_TRAINED, NUM_HELD_OUT = 8, 4


class ShownClips(Frozen):
    """What the picture shows: film strips, a row for each prompt."""

    file: str
    """Name of the picture, which lies beside the record."""
    sha256: str
    prompts: list[str]
    held_out_prompts: list[str]


def show_clips(
    file: Path, source: DrawnClips | VideoFolder, is_readable: np.ndarray
) -> tuple[ShownClips | None, list[str]]:
    """Save the first readable clip of some prompts, the held-out ones last.

    A picture that cannot be written is a note, and costs nobody the numbers.
    """
    first: dict[str, int] = {}
    for place in np.flatnonzero(is_readable).tolist():
        first.setdefault(source.prompts[place], place)
    held_out = choose(first.keys() & set(source.held_out), NUM_HELD_OUT)
    chosen = choose(first.keys() - set(source.held_out), NUM_TRAINED) + held_out
    frames, _ = source.read([first[prompt] for prompt in chosen])
    try:
        save_clip(file, film_strips(frames)[None])
        checksum = sha256_of(file)
    except (UserError, OSError) as error:
        return None, [f"picture: {format_error(error)}"]
    return ShownClips(
        file=file.name, sha256=checksum, prompts=chosen, held_out_prompts=held_out
    ), []


def choose(prompts: Iterable[str], most: int) -> list[str]:
    """Choose prompts by a rule of their own, so that two systems' clips share their prompts."""
    return sorted(prompts, key=lambda prompt: hashlib.sha256(prompt.encode()).digest())[:most]
