"""A few of the clips that were scored, for people: a picture beside the record."""

from pathlib import Path

import numpy as np

from t2vgan.config import Frozen
from t2vgan.evaluation.copies import evenly
from t2vgan.evaluation.drawn_clips import DrawnClips
from t2vgan.evaluation.video_folder import VideoFolder
from t2vgan.media import film_strips, save_clip

NUM_TRAINED, NUM_HELD_OUT = 8, 4


class ShownClips(Frozen):
    """What the picture shows: film strips, a row for each prompt."""

    file: str
    """Name of the picture, which lies beside the record."""
    prompts: list[str]
    held_out_prompts: list[str]


def save_shown_clips(
    file: Path, source: DrawnClips | VideoFolder, is_readable: np.ndarray
) -> ShownClips:
    """Save the first readable clip of some prompts, an even choice with the held-out ones last."""
    first: dict[str, int] = {}
    for place in np.flatnonzero(is_readable).tolist():
        first.setdefault(source.prompts[place], place)
    held_out = [prompt for prompt in first if prompt in source.held_out]
    trained = [prompt for prompt in first if prompt not in source.held_out]
    chosen = []
    for prompts, most in ((trained, NUM_TRAINED), (held_out, NUM_HELD_OUT)):
        places = evenly(len(prompts), min(most, len(prompts)))
        chosen += [prompts[place] for place in places.tolist()]
    frames, _ = source.read([first[prompt] for prompt in chosen])
    save_clip(file, film_strips(frames)[None])
    return ShownClips(
        file=file.name,
        prompts=chosen,
        held_out_prompts=[prompt for prompt in chosen if prompt in source.held_out],
    )
