"""What a run draws of itself while it trains: grids of samples, readings of the motion meter."""

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from functools import cached_property

import numpy as np
import torch

from t2vgan.data.mixture import DatasetMixture
from t2vgan.errors import UserError
from t2vgan.evaluation.evaluate import score_real_clips
from t2vgan.evaluation.prompt_accuracy.prompts import deal_prompts, unknown_prompts
from t2vgan.evaluation.prompt_accuracy.select import tracker_of
from t2vgan.evaluation.scores import Scores, compare, score_clips
from t2vgan.pipeline import TextToVideo
from t2vgan.tokenizer import Vocabulary
from t2vgan.training.checkpointer import describe_weights
from t2vgan.training.run_logger import RunLogger
from t2vgan.training.sample_grids import (
    prompts_of,
    save_real_clips,
    save_samples,
    save_strips,
    varied_prompts_of,
)
from t2vgan.utils.console import format_error

SAMPLING_BATCH_SIZE = 20
NUM_REAL_CLIPS = 1000  # at least: fewer do not tell how much clips of one prompt vary

ShouldStop = Callable[[], bool]


class Evaluator:
    """Draws with the averaged generator, all ranks together, and records what is seen."""

    def __init__(self, diary: RunLogger, data: DatasetMixture, vocabulary: Vocabulary) -> None:
        self.diary, self.data, self.vocabulary = diary, data, vocabulary
        self.manifest = manifest = data.manifest
        self.config, self.processes, self.state = diary.config, diary.processes, diary.state
        self.prompts, self.varied_prompts = prompts_of(manifest), varied_prompts_of(manifest)
        asked = [*self.prompts, *manifest.held_out_prompts]
        vocabulary.encode(asked, allow_unknown=True)  # those of unknown words only are missed now
        self.can_evaluate = not unknown_prompts(manifest.prompts)
        if self.can_evaluate and self.config.evaluate_every_steps:
            tracker_of(manifest.prompts)  # what it needs is missed now, not after hours

    def due(self, done: Collection[str] = ()) -> list[str]:
        """Return what is to be drawn at this step, by the kind of its record, less what is done."""
        step, is_last = self.state.step, self.state.step >= self.config.train.num_steps
        every = {"samples": self.config.sample_every_steps}
        if self.can_evaluate:
            every["evaluation"] = self.config.evaluate_every_steps
        return [
            kind
            for kind, steps in every.items()
            if steps and step and (step % steps == 0 or is_last) and kind not in done
        ]

    def take(self, kinds: Collection[str], should_stop: ShouldStop) -> tuple[float | None, bool]:
        """Return the accuracy if it is the best so far, and whether all was done (collective)."""
        if "samples" in kinds and not self.sample(should_stop):
            return None, False
        if "evaluation" not in kinds:
            return None, True
        accuracy = self.evaluate(should_stop)
        if accuracy is None:
            return None, False
        is_best = accuracy >= self.state.best_accuracy  # of equals the later, which is more varied
        return accuracy if is_best else None, True

    def record_data(self) -> None:
        """Write down what the run learns from, with real clips to compare its own with."""
        manifest, config = self.manifest, self.config
        if not self.processes.is_main:
            return
        clips = {}
        if config.sample_every_steps:
            try:
                clips = save_real_clips(config.run_dir, self.data.parts, manifest)
            except OSError as error:  # a full disk
                self.diary.warn(f"real clips were not saved ({format_error(error)})")
        self.diary.write(
            "data",
            builder=manifest.builder,
            builder_version=manifest.builder_version,
            builder_config=manifest.builder_config,
            fingerprint=manifest.fingerprint,
            num_clips=manifest.num_samples,
            num_prompts=len(manifest.prompts),
            num_held_out_prompts=len(manifest.held_out_prompts),
            **clips,
        )

    def sample(self, should_stop: ShouldStop) -> bool:
        """Draw every prompt, and some many times; return whether there was time (collective).

        The latents are fixed: what differs from moment to moment is the generator.
        """
        num_prompts, varied = len(self.prompts), self.varied_prompts
        seeds = [0] * num_prompts + _numbers_within(varied)
        clips = self.generate([*self.prompts, *varied], seeds, should_stop)
        if clips is None:
            return False
        if self.processes.is_main:
            run_dir, step = self.config.run_dir, self.state.step
            name = f"step_{step:08d}_seeds"
            try:
                record = save_strips(run_dir, name, clips[num_prompts:], varied, self.manifest)
                self.diary.write("seeds", **record)
                record = save_samples(run_dir, step, clips[:num_prompts], self.manifest)
                self.diary.write("samples", **record)
            except OSError as error:  # a full disk
                self.diary.warn(f"samples of step {step} were not saved ({format_error(error)})")
        return True

    def evaluate(self, should_stop: ShouldStop) -> float | None:
        """Read the motion meter; return the accuracy, or None if there was no time (collective)."""
        manifest = self.manifest
        prompts = deal_prompts(
            list(manifest.prompts),
            manifest.held_out_prompts,
            self.config.evaluate_num_clips,
            seed=self.config.train.seed,
        )
        seeds = range(len(prompts))  # a few latents that all prompts share tell little of variety
        clips = self.generate(prompts, seeds, should_stop)
        if clips is None:
            return None
        scores = score_clips(clips, prompts, self.manifest.held_out_prompts)
        real = self.scores_of_real_clips
        self.diary.evaluation(scores, None if real is None else compare(scores, real).diversity)
        return scores.accuracy or 0.0

    @cached_property
    def scores_of_real_clips(self) -> Scores | None:
        """The same readings of real clips, what diversity is relative to; None if damaged.

        Training may allow for damage: its reader passes over it, and counts it.
        """
        try:
            num_clips = max(self.config.evaluate_num_clips, NUM_REAL_CLIPS)
            return score_real_clips(self.data, num_clips)
        except (UserError, OSError) as error:
            self.diary.warn(f"no diversity is measured ({format_error(error)})")
            return None

    def generate(
        self, prompts: Sequence[str], seeds: Sequence[int], should_stop: ShouldStop
    ) -> np.ndarray | None:
        """Return clips (N, T, H, W, 3), or None as soon as any rank was told to stop."""
        rank, world_size = self.processes.rank, self.processes.world_size
        num_each = -(-len(prompts) // world_size)  # every rank draws as many, if need be twice
        places = [(rank + world_size * i) % len(prompts) for i in range(num_each)]
        info = describe_weights(self.config, self.state, self.manifest, self.vocabulary)
        pipeline = TextToVideo(self.diary.game.ema.model, self.vocabulary, info)
        clips = pipeline.generate(
            [prompts[place] for place in places],
            [seeds[place] for place in places],
            batch_size=SAMPLING_BATCH_SIZE,
            allow_unknown=True,  # rare words of the data's own prompts
            should_stop=should_stop,
        )
        if self.processes.any(should_stop()):
            return None
        return self.processes.gather_slices(torch.from_numpy(clips)).numpy()[: len(prompts)]


def _numbers_within(prompts: Sequence[str]) -> list[int]:
    """Return for each clip how many clips before it have its prompt."""
    seen = Counter[str]()
    numbers = []
    for prompt in prompts:
        numbers.append(seen[prompt])
        seen[prompt] += 1
    return numbers
