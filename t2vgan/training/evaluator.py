"""Sample and evaluate the averaged generator during training."""

import time
from collections import deque
from collections.abc import Collection, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch

from t2vgan.config import Config
from t2vgan.data.mixture import DatasetMixture
from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.evaluation.clip_numbers import Agreement, draw_prompts, measure_clips
from t2vgan.evaluation.distribution.near_copies import make_thumbnails
from t2vgan.evaluation.evaluate import score_real_clips
from t2vgan.evaluation.probe.cache import load_or_train_probe
from t2vgan.evaluation.probe.probe import Probe
from t2vgan.evaluation.probe.training import ProbeStoppedError, ShouldStop
from t2vgan.evaluation.prompt_accuracy.prompts import assign_prompts, unknown_prompts
from t2vgan.evaluation.prompt_accuracy.select import select_tracker
from t2vgan.evaluation.scores import Scores, compare, may_reach, score_clips
from t2vgan.pipeline import TextToVideo
from t2vgan.tokenizer import Vocabulary
from t2vgan.training.health.variety import (
    Differences,
    Variety,
    measure_generated,
    read_real_differences,
)
from t2vgan.training.run_logger import RunLogger
from t2vgan.training.sample_grids import (
    NUM_SEEDS,
    prompts_of,
    save_real_clips,
    save_samples,
    save_strips,
    varied_prompts_of,
)
from t2vgan.utils.console import format_error
from t2vgan.utils.sequences import number_repeats

BATCH_SIZE = 20
MAX_WAITING = 4  # steps whose samples are kept in memory while the disk is full
MIN_REAL_CLIPS = 1000  # needed to measure how much clips of one prompt vary


class Evaluator:
    """Generate clips on all ranks, and log grids and scores."""

    def __init__(
        self,
        config: Config,
        context: DistributedContext,
        data: DatasetMixture,
        vocabulary: Vocabulary,
        logger: RunLogger,
    ) -> None:
        self.config, self.context, self.data = config, context, data
        self.vocabulary, self.logger = vocabulary, logger
        self.manifest = manifest = data.manifest
        self.best_accuracy, self.best_step = -1.0, -1
        self.waiting: deque[tuple[dict[str, Any], np.ndarray]] = deque()
        """Samples that are not on disk yet: the fields of their records, and all clips."""
        self.refused_steps: set[int] = set()
        self.prompts, self.varied_prompts = prompts_of(manifest), varied_prompts_of(manifest)
        requested = [*self.prompts, *manifest.held_out_prompts]
        vocabulary.encode(requested, allow_unknown=True)  # fail now rather than after hours
        self.has_meter = not unknown_prompts(manifest.prompts)
        """Whether the grammar knows the prompts, so that prompt accuracy can be measured."""
        self.probe: Probe | None = None
        """The probe for data without a meter; see `load_probe`."""
        if self.has_meter and config.evaluate_every_steps:
            select_tracker(manifest.prompts)  # report a missing library now, not after hours

    def find_pending(self, step: int, done: Collection[str] = ()) -> list[str]:
        """Return the kinds of records due at a step and not done."""
        is_last = step >= self.config.train.num_steps
        every = {
            "samples": self.config.sample_every_steps,
            "evaluation": self.config.evaluate_every_steps,
        }
        return [
            kind
            for kind, steps in every.items()
            if steps and step and (step % steps == 0 or is_last) and kind not in done
        ]

    def run(
        self, pipeline: TextToVideo, kinds: Collection[str], should_stop: ShouldStop
    ) -> tuple[float | None, bool]:
        """Sample, evaluate, or both, as listed in `kinds` (collective).

        Returns a score and whether everything was done. The score is the accuracy, or without a
        meter the agreement; it is None unless no earlier one was measurably better.
        """
        if "samples" in kinds and not self.sample(pipeline, should_stop):
            return None, False
        if "evaluation" not in kinds:
            return None, True
        evaluate = self.evaluate if self.has_meter else self.evaluate_any
        accuracy = evaluate(pipeline, should_stop)
        if accuracy is None:
            return None, False
        # Of steps that do not differ measurably the last is best: it is the most varied.
        # -1: there is no agreement.
        num_clips = self.config.evaluate_num_clips
        is_best = accuracy >= 0 and may_reach(self.best_accuracy, accuracy, num_clips)
        return accuracy if is_best else None, True

    def set_best(self, accuracy: float, step: int) -> None:
        """Store the best step, and the highest accuracy."""
        self.best_accuracy, self.best_step = max(self.best_accuracy, accuracy), step

    def log_data(self) -> None:
        """Log a description of the data, with some real clips."""
        manifest, config = self.manifest, self.config
        if not self.context.is_main:
            return
        clips = {}
        if config.sample_every_steps:
            try:
                clips = save_real_clips(config.run_dir, self.data.parts, manifest)
            except OSError as error:  # a full disk
                self.logger.log_warning(f"real clips were not saved ({format_error(error)})")
        self.logger.log(
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

    def sample(self, pipeline: TextToVideo, should_stop: ShouldStop) -> bool:
        """Generate every prompt, some with several seeds, and log grids (collective).

        The latents are fixed, so that only the generator changes between steps. Returns False if
        interrupted by a stop request.
        """
        num_prompts, varied = len(self.prompts), self.varied_prompts
        seeds = [0] * num_prompts + number_repeats(varied)
        clips = self.generate(pipeline, [*self.prompts, *varied], seeds, should_stop)
        if clips is None:
            return False
        if self.context.is_main:
            generated = measure_generated(make_thumbnails(clips[num_prompts:]), NUM_SEEDS)
            self.logger.log_variety(Variety(generated, self.real_differences))
            if len(self.waiting) == MAX_WAITING:
                dropped, _ = self.waiting.popleft()
                self.logger.log_warning(
                    f"samples of step {dropped['step']} are lost: too many wait to be saved"
                )
            self.waiting.append((self.logger.moment, clips))
            self.save_waiting()
        return True

    def save_waiting(self) -> None:
        """Save samples that are not on disk yet; called on rank 0."""
        while self.waiting:
            moment, clips = self.waiting[0]
            step, num_prompts, varied = moment["step"], len(self.prompts), self.varied_prompts
            run_dir, name = self.config.run_dir, f"step_{step:08d}_seeds"
            try:
                strips = save_strips(run_dir, name, clips[num_prompts:], varied, self.manifest)
                samples = save_samples(run_dir, step, clips[:num_prompts], self.manifest)
            except OSError as error:  # a full disk
                if step not in self.refused_steps:
                    self.refused_steps.add(step)
                    self.logger.log_warning(
                        f"samples of step {step} were not saved ({format_error(error)}); they"
                        " stay in memory until the next samples or checkpoint are saved"
                    )
                return
            self.waiting.popleft()
            self.logger.log_at(moment, "seeds", **strips)
            self.logger.log_at(moment, "samples", **samples)

    def evaluate(self, pipeline: TextToVideo, should_stop: ShouldStop) -> float | None:
        """Log the scores of generated clips; return the accuracy (collective).

        Returns None if interrupted by a stop request.
        """
        manifest = self.manifest
        prompts = assign_prompts(
            list(manifest.prompts),
            manifest.held_out_prompts,
            self.config.evaluate_num_clips,
            seed=self.config.train.seed,
        )
        seeds = range(len(prompts))  # all different: shared latents would hide variety
        clips = self.generate(pipeline, prompts, seeds, should_stop)
        if clips is None:
            return None
        return self.context.run_on_main(lambda: self.score(clips, prompts))

    def score(self, clips: np.ndarray, prompts: Sequence[str]) -> float:
        """Log the scores of clips (N, T, H, W, 3); return accuracy.

        Clips are those of `prompts`, in their order.
        """
        scores = score_clips(clips, prompts, self.manifest.held_out_prompts)
        real = self.real_scores
        diversity = None if real is None else compare(scores, real).diversity
        self.logger.log_evaluation(scores, diversity)
        return scores.accuracy or 0.0

    def load_probe(self, should_stop: ShouldStop) -> bool:
        """Load or train the probe that evaluates data without a meter (collective).

        The main rank trains while the others poll, so that no timeout expires. Returns False if
        interrupted by a stop request.

        Raises:
            UserError: samples are damaged.
        """
        if self.has_meter or not self.config.evaluate_every_steps:
            return True
        self.logger.print(
            "evaluation: no meter reads these prompts; a probe is loaded, or trained for minutes"
            " (--evaluate-every-steps 0 turns evaluation off)"
        )
        start = time.monotonic()
        device = self.context.device
        try:
            self.probe = load_or_train_probe(
                self.data, context=self.context, device=device, should_stop=should_stop
            )
        except ProbeStoppedError:
            return False
        self.logger.print(f"evaluation: the probe is ready after {time.monotonic() - start:.0f} s")
        return True

    def evaluate_any(self, pipeline: TextToVideo, should_stop: ShouldStop) -> float | None:
        """Log numbers that need no meter; return the text-video agreement (collective).

        It is at most that of real clips. Returns None if interrupted by a stop request, and -1 if
        the agreement cannot be measured on this data.
        """
        probe = self.probe
        assert probe is not None, "load_probe comes first"
        prompts = draw_prompts(probe.info.prompts, self.config.evaluate_num_clips)
        clips = self.generate(pipeline, prompts, range(len(prompts)), should_stop)
        if clips is None:
            return None
        numbers = self.context.run_on_main(lambda: measure_clips(clips, prompts, probe))
        self.logger.log_numbers(numbers, probe.info.notes)
        return cap_at_real(numbers.agreement)

    @cached_property
    def real_differences(self) -> Differences:
        """Differences between real clips, the reference for generated ones."""
        try:
            return read_real_differences(self.data.parts)
        except (UserError, OSError) as error:
            self.logger.log_warning(f"variety is not measured ({format_error(error)})")
            return Differences(None, None)

    @cached_property
    def real_scores(self) -> Scores | None:
        """Scores of real clips, the reference for diversity.

        None if clips are damaged, which training tolerates: its loader counts and replaces them.
        """
        try:
            num_clips = max(self.config.evaluate_num_clips, MIN_REAL_CLIPS)
            return score_real_clips(self.data, num_clips)
        except (UserError, OSError) as error:
            self.logger.log_warning(f"diversity is not measured ({format_error(error)})")
            return None

    def generate(
        self,
        pipeline: TextToVideo,
        prompts: Sequence[str],
        seeds: Sequence[int],
        should_stop: ShouldStop,
    ) -> np.ndarray | None:
        """Return clips (N, T, H, W, 3); None when stopped (collective)."""
        rank, world_size = self.context.rank, self.context.world_size
        num_each = -(-len(prompts) // world_size)  # equal on all ranks; some clips are drawn twice
        places = [(rank + world_size * i) % len(prompts) for i in range(num_each)]
        clips = pipeline.generate(
            [prompts[place] for place in places],
            [seeds[place] for place in places],
            batch_size=BATCH_SIZE,
            allow_unknown=True,  # rare words of the data's prompts
            should_stop=should_stop,
        )
        if self.context.any(should_stop()):
            return None
        return self.context.gather_slices(torch.from_numpy(clips)).numpy()[: len(prompts)]


def cap_at_real(agreement: Agreement | None) -> float:
    """Return an agreement, at most that of real clips; -1 for None.

    Clips that are recognised more often than real ones are more typical, not better. Capped values
    are equal, so the last weights, which are the most varied, count as the best.
    """
    if agreement is None or agreement.accuracy is None:
        return -1.0
    return min(agreement.accuracy, agreement.real)
