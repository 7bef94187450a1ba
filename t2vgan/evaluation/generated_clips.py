"""The clips that weights draw for an evaluation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from t2vgan.checkpoint.weights import find_weights
from t2vgan.data.shards import Manifest
from t2vgan.errors import UserError
from t2vgan.evaluation.prompt_accuracy.prompts import deal_prompts
from t2vgan.evaluation.video_folder import VideoReport
from t2vgan.pipeline import TextToVideo
from t2vgan.tokenizer import tokenize
from t2vgan.utils.files import sha256_of
from t2vgan.utils.seeds import derive_seed

MIN_CLIPS = 100  # or one a prompt, where prompts are fewer
BATCH_SIZE = 16


class DrawnClips:
    """`num_clips` clips of the data's prompts; `deal_prompts` says which clip shows which.

    Held out means that the weights were not trained on the prompt. Raises UserError for weights and
    data that do not fit each other, and for too few clips.
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
        file = find_weights(weights)
        self.sha256 = sha256_of(file)  # now: a running training may replace the file
        self.pipeline = TextToVideo.from_pretrained(file, device=device)
        prompts = [*manifest.prompts, *manifest.held_out_prompts]
        check_fit(self.pipeline, manifest, prompts)
        if num_clips < (fewest := min(len(prompts), MIN_CLIPS)):
            raise UserError(f"num_clips={num_clips} must be at least {fewest}")
        training = list(manifest.prompts)
        self.prompts = deal_prompts(training, manifest.held_out_prompts, num_clips, seed=seed)
        trained_on = set(self.pipeline.info.prompts)
        self.held_out = [prompt for prompt in prompts if prompt not in trained_on]
        self.seeds = [derive_seed(seed, "evaluation", place) for place in range(num_clips)]

    def read(self, places: Sequence[int]) -> tuple[np.ndarray, list[VideoReport]]:
        """Draw the clips at these places, (n, T, H, W, 3) uint8; nothing special to report."""
        frames = self.pipeline.generate(
            [self.prompts[place] for place in places],
            [self.seeds[place] for place in places],
            batch_size=BATCH_SIZE,
        )
        return frames, [VideoReport()] * len(frames)


def check_fit(pipeline: TextToVideo, manifest: Manifest, prompts: Sequence[str]) -> None:
    """Raise UserError unless the weights can make clips like the data's."""
    ours = {name: getattr(pipeline.info, name) for name in ("num_frames", "height", "width")}
    theirs = manifest.geometry.model_dump()
    if ours != theirs:
        raise UserError(
            f"the weights make clips of {_geometry(ours)}, the data has {_geometry(theirs)} "
            "(frames x height x width): evaluate on data of the weights' geometry"
        )
    words = {word for prompt in prompts for word in tokenize(prompt)}
    if unknown := sorted(words - set(pipeline.vocabulary.words)):
        raise UserError(
            f"the weights do not know the words {', '.join(unknown)} of the data's prompts: "
            "evaluate on data of the scene they were trained on"
        )


def _geometry(sizes: dict[str, int]) -> str:
    return "{num_frames}x{height}x{width}".format(**sizes)
