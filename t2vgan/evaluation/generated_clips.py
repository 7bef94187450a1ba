"""Generate the clips of an evaluation."""

import copy
import itertools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from t2vgan.data.shards import Manifest
from t2vgan.errors import UserError
from t2vgan.evaluation.prompt_accuracy.prompts import assign_prompts
from t2vgan.evaluation.video_folder import VideoReport
from t2vgan.pipeline import TextToVideo, find_pretrained
from t2vgan.tokenizer import UNKNOWN
from t2vgan.utils.files import sha256_of
from t2vgan.utils.seeds import derive_seed

MIN_CLIPS = 100  # or one a prompt, where prompts are fewer
BATCH_SIZE = 16
FINENESS = 4  # steps between two trained times, where smoothness is measured


class GeneratedClips:
    """Clips of the data's prompts, drawn by weights; see `assign_prompts`.

    Held out means that the weights were not trained on the prompt.

    Raises:
        UserError: weights and data do not fit each other, or clips are too few.
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
        self.sha256 = sha256_of(file)  # now: a running training may replace the file
        self.pipeline = TextToVideo.from_pretrained(file, device=device)
        prompts = [*manifest.prompts, *manifest.held_out_prompts]
        check_fit(self.pipeline, manifest, prompts)
        if num_clips < (fewest := min(len(prompts), MIN_CLIPS)):
            raise UserError(f"num_clips={num_clips} must be at least {fewest}")
        training = list(manifest.prompts)
        self.prompts = assign_prompts(training, manifest.held_out_prompts, num_clips, seed=seed)
        trained_on = set(self.pipeline.info.prompts)
        self.held_out = [prompt for prompt in prompts if prompt not in trained_on]
        self.seeds = [derive_seed(seed, "evaluation", index) for index in range(num_clips)]

    def with_prompts(self, prompts: Sequence[str]) -> "GeneratedClips":
        """Return the same clips of other prompts."""
        clips = copy.copy(self)
        clips.prompts = list(prompts)
        return clips

    def read(self, indices: Sequence[int]) -> tuple[np.ndarray, list[VideoReport]]:
        """Draw clips (n, T, H, W, 3) uint8; their reports are empty."""
        frames = self._draw(indices, None)
        return frames, [VideoReport()] * len(frames)

    def read_between(self, indices: Sequence[int]) -> np.ndarray:
        """Draw clips with frames between the trained times too."""
        return self._draw(indices, FINENESS * (self.pipeline.info.num_frames - 1) + 1)

    def _draw(self, indices: Sequence[int], num_frames: int | None) -> np.ndarray:
        return self.pipeline.generate(
            [self.prompts[index] for index in indices],
            [self.seeds[index] for index in indices],
            num_frames=num_frames,
            batch_size=BATCH_SIZE,
            allow_unknown=True,  # rare words of the data's own prompts; others were checked
        )


def check_fit(pipeline: TextToVideo, manifest: Manifest, prompts: Sequence[str]) -> None:
    """Raise UserError unless weights and data share geometry and words."""
    ours = {name: getattr(pipeline.info, name) for name in ("num_frames", "height", "width")}
    theirs = manifest.geometry.model_dump()
    if ours != theirs:
        raise UserError(
            f"the weights make clips of {_geometry(ours)}, the data has {_geometry(theirs)} "
            "(frames x height x width): evaluate on data of the weights' geometry"
        )
    if "" in prompts and not pipeline.vocabulary.is_empty(""):
        raise UserError(
            "the data has clips without captions, and the weights draw nothing without a prompt:"
            " evaluate on captioned data"
        )
    if UNKNOWN in pipeline.vocabulary.ids:  # rare words were trained as one
        return
    words = set(itertools.chain.from_iterable(map(pipeline.vocabulary.tokenize, prompts)))
    if unknown := sorted(words - set(pipeline.vocabulary.words)):
        raise UserError(
            f"the weights do not know the words {', '.join(unknown)} of the data's prompts: "
            "evaluate on data of the scene they were trained on"
        )


def _geometry(sizes: dict[str, int]) -> str:
    return "{num_frames}x{height}x{width}".format(**sizes)
