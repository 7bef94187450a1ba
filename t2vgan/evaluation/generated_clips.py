"""Generate the clips of an evaluation."""

import copy
import itertools
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from t2vgan.data.shards import Manifest
from t2vgan.errors import UserError
from t2vgan.evaluation.prompt_accuracy.prompts import assign_prompts
from t2vgan.evaluation.video_folder import VideoReport
from t2vgan.pipeline import TextToVideo, find_pretrained
from t2vgan.tokenizer import UNKNOWN, Vocabulary
from t2vgan.utils.files import sha256_of
from t2vgan.utils.seeds import derive_seed

MIN_CLIPS = 100  # or one per prompt, if prompts are fewer
BATCH_SIZE = 16
MAX_NAMED = 10  # words in a message
FINENESS = 4  # steps per interval of trained times, to measure smoothness


class GeneratedClips:
    """Clips of the data's prompts, drawn by weights; see `assign_prompts`.

    Prompts with words that the weights do not know are left out. A prompt is held out if the
    weights were not trained on it.

    Raises:
        UserError: weights and data do not match, or clips are too few.
    """

    def __init__(
        self,
        weights: Path | str,
        manifest: Manifest,
        *,
        num_clips: int,
        seed: int,
        device: torch.device,
    ) -> None:
        file = find_pretrained(weights)
        self.sha256 = sha256_of(file)  # before loading: a running training may replace the file
        self.pipeline = TextToVideo.from_pretrained(file, device=device)
        check_fit(self.pipeline, manifest)
        self.left_out = find_unknown_words(
            self.pipeline.vocabulary, [*manifest.prompts, *manifest.held_out_prompts]
        )
        training, held_out = (
            [prompt for prompt in prompts if prompt not in self.left_out]
            for prompts in (manifest.prompts, manifest.held_out_prompts)
        )
        prompts = [*training, *held_out]
        if not prompts:
            raise UserError(
                f"{self.describe_unknown_words()} of the data's prompts; evaluate on data of the"
                " scene that they were trained on"
            )
        if num_clips < (fewest := min(len(prompts), MIN_CLIPS)):
            raise UserError(f"num_clips={num_clips} must be at least {fewest}")
        self.num_known_prompts = len(prompts)
        self.prompts = assign_prompts(training, held_out, num_clips, seed=seed)
        trained_on = set(self.pipeline.info.prompts)
        self.held_out = [prompt for prompt in prompts if prompt not in trained_on]
        self.seeds = [derive_seed(seed, "evaluation", index) for index in range(num_clips)]

    @property
    def notes(self) -> list[str]:
        """Notes on prompts that are left out."""
        if not (number := len(self.left_out)):
            return []
        total = number + self.num_known_prompts
        return [
            f"{number} of {total} prompts of the data are left out: {self.describe_unknown_words()}"
        ]

    def describe_unknown_words(self) -> str:
        """Name some words that the weights do not know."""
        words = sorted(set(itertools.chain.from_iterable(self.left_out.values())))
        more = [f"and {len(words) - MAX_NAMED} more"] if len(words) > MAX_NAMED else []
        return f"the weights do not know the words {', '.join([*words[:MAX_NAMED], *more])}"

    def with_prompts(self, prompts: Sequence[str]) -> "GeneratedClips":
        """Return a copy with other prompts and the same seeds."""
        clips = copy.copy(self)
        clips.prompts = list(prompts)
        return clips

    def read(self, indices: Sequence[int]) -> tuple[np.ndarray, list[VideoReport]]:
        """Draw clips (n, T, H, W, 3) uint8, with empty reports."""
        frames = self._draw(indices, None)
        return frames, [VideoReport()] * len(frames)

    def read_between(self, indices: Sequence[int]) -> np.ndarray:
        """Draw clips with additional frames between the trained times."""
        return self._draw(indices, FINENESS * (self.pipeline.info.num_frames - 1) + 1)

    def _draw(self, indices: Sequence[int], num_frames: int | None) -> np.ndarray:
        return self.pipeline.generate(
            [self.prompts[index] for index in indices],
            [self.seeds[index] for index in indices],
            num_frames=num_frames,
            batch_size=BATCH_SIZE,
            allow_unknown=True,  # for rare words; prompts with unknown words are left out
        )


def check_fit(pipeline: TextToVideo, manifest: Manifest) -> None:
    """Raise UserError unless weights can draw clips like those of the data."""
    ours = {name: getattr(pipeline.info, name) for name in ("num_frames", "height", "width")}
    theirs = manifest.geometry.model_dump()
    if ours != theirs:
        raise UserError(
            f"the weights make clips of {_geometry(ours)}, but the data has {_geometry(theirs)} "
            "(frames x height x width); evaluate on data of the weights' geometry"
        )
    if "" in manifest.prompts and not pipeline.vocabulary.is_empty(""):
        raise UserError(
            "the data has clips without captions, but the weights need a prompt; evaluate on"
            " captioned data"
        )


def find_unknown_words(vocabulary: Vocabulary, prompts: Iterable[str]) -> dict[str, list[str]]:
    """Return prompt -> unknown words, for prompts that have any.

    There are none if rare words were trained as one unknown word.
    """
    if UNKNOWN in vocabulary.ids:
        return {}
    words = {p: [w for w in vocabulary.tokenize(p) if w not in vocabulary.ids] for p in prompts}
    return {prompt: unknown for prompt, unknown in words.items() if unknown}


def _geometry(sizes: dict[str, int]) -> str:
    return "{num_frames}x{height}x{width}".format(**sizes)
