"""What a run draws of itself while it trains: grids of samples, readings of the motion meter."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from t2vgan.config import Config
from t2vgan.distributed import Processes
from t2vgan.ema import Ema
from t2vgan.evaluation.evaluate import score_real_clips
from t2vgan.evaluation.motion import unknown_prompts
from t2vgan.evaluation.scores import Scores, compare, score_clips
from t2vgan.manifest import Manifest
from t2vgan.samples import prompts_of, save_samples
from t2vgan.sampling import generate_clips
from t2vgan.text import Vocabulary

SAMPLING_BATCH_SIZE = 20


class Readings:
    """Draws with the averaged generator, all ranks together; told to stop, it returns None."""

    def __init__(
        self,
        config: Config,
        ema: Ema,
        processes: Processes,
        manifest: Manifest,
        vocabulary: Vocabulary,
    ) -> None:
        self.config, self.ema, self.processes = config, ema, processes
        self.manifest, self.vocabulary = manifest, vocabulary
        self.prompts = prompts_of(manifest)
        self.can_evaluate = not unknown_prompts(self.prompts)

    def sample(self, step: int, should_stop: Callable[[], bool]) -> dict[str, Any] | None:
        """Draw every prompt with fixed latents and save it; return the record (collective)."""
        clips = self.generate(self.prompts, [0] * len(self.prompts), should_stop)
        if clips is None:
            return None
        if not self.processes.is_main:
            return {}
        return save_samples(self.config.run_dir, step, clips, self.manifest)

    def evaluate(self, should_stop: Callable[[], bool]) -> tuple[Scores, float | None] | None:
        """Read the motion meter; return scores and diversity over real clips' (collective)."""
        per_prompt = self.config.evaluate_clips_per_prompt
        prompts = [prompt for prompt in self.prompts for _ in range(per_prompt)]
        clips = self.generate(prompts, list(range(per_prompt)) * len(self.prompts), should_stop)
        if clips is None:
            return None
        scores = score_clips(clips, prompts, self.manifest.held_out_prompts)
        return scores, compare(scores, self.scores_of_real_clips).diversity

    @cached_property
    def scores_of_real_clips(self) -> Scores:
        """The same readings of as many real clips: what diversity is relative to."""
        num_clips = len(self.prompts) * self.config.evaluate_clips_per_prompt
        return score_real_clips(self.config.data.path, self.manifest, num_clips)

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int], should_stop: Callable[[], bool]
    ) -> np.ndarray | None:
        """Return clips (N, T, H, W, 3), or None as soon as any rank was told to stop."""
        rank, world_size = self.processes.rank, self.processes.world_size
        num_each = -(-len(prompts) // world_size)  # every rank draws as many, if need be twice
        places = [(rank + world_size * i) % len(prompts) for i in range(num_each)]
        clips = generate_clips(
            self.ema.model,
            self.vocabulary,
            [prompts[place] for place in places],
            [seeds[place] for place in places],
            num_frames=self.manifest.geometry.num_frames,
            batch_size=SAMPLING_BATCH_SIZE,
            should_stop=should_stop,
        )
        if self.processes.any(should_stop()):
            return None
        return self.processes.gather_slices(torch.from_numpy(clips)).numpy()[: len(prompts)]
