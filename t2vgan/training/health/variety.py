"""Measure how much prompts and seeds change clips, relative to real ones."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from t2vgan.data.dataset import ShardedDataset
from t2vgan.data.shards import decode_sample
from t2vgan.evaluation.distribution.near_copies import make_thumbnails
from t2vgan.evaluation.distribution.variance import group_variances

NUM_REAL_CLIPS = 500


@dataclass(frozen=True)
class Differences:
    """RMS differences between clips' thumbnails, in grey levels; None without pairs."""

    prompts: float | None
    """Between clips of different prompts, for generated clips with the same seed."""
    seeds: float | None
    """Between clips of one prompt, for generated clips with different seeds."""


@dataclass(frozen=True)
class Variety:
    """Differences of generated and real clips."""

    generated: Differences
    real: Differences

    @property
    def prompts(self) -> float | None:
        """Difference between prompts, relative to real clips."""
        return divide(self.generated.prompts, self.real.prompts)

    @property
    def seeds(self) -> float | None:
        """Difference between seeds, relative to real clips of one prompt.

        If no prompt has two real clips, it is relative to real clips of different prompts.
        """
        real = self.real.prompts if self.real.seeds is None else self.real.seeds
        return divide(self.generated.seeds, real)


def divide(generated: float | None, real: float | None) -> float | None:
    """Return the ratio; None if it is undefined."""
    return None if generated is None or not real else generated / real


def measure_generated(thumbnails: np.ndarray, num_seeds: int) -> Differences:
    """Compare clips of P prompts with the same S seeds each.

    Shape: thumbnails (P * S, D), ordered by prompt.
    """
    numbers = range(len(thumbnails))
    same_seed = group_variances(thumbnails, [str(n % num_seeds) for n in numbers])
    same_prompt = group_variances(thumbnails, [str(n // num_seeds) for n in numbers])
    return Differences(
        prompts=rms_difference(fmean(same_seed.values())) if same_seed else None,
        seeds=rms_difference(fmean(same_prompt.values())) if same_prompt else None,
    )


def measure_real(thumbnails: np.ndarray, prompts: Sequence[str]) -> Differences:
    """Compare real clips within and between prompts, by thumbnails (N, D)."""
    rows: dict[str, list[int]] = defaultdict(list)
    for row, prompt in enumerate(prompts):
        rows[prompt].append(row)
    counts = {prompt: len(members) for prompt, members in rows.items()}
    variances = group_variances(thumbnails, prompts)
    within = between = None
    if variances:
        total = sum((counts[prompt] - 1) * variance for prompt, variance in variances.items())
        within = total / sum(counts[prompt] - 1 for prompt in variances)
    if len(rows) > 1:  # variance of the prompts' means, and of the clips within their prompts
        means = np.stack([thumbnails[members].mean(0) for members in rows.values()])
        share = np.mean([1 - 1 / count for count in counts.values()])
        between = means.var(0, ddof=1).mean() + share * (within or 0.0)
    return Differences(
        prompts=None if between is None else rms_difference(between),
        seeds=None if within is None else rms_difference(within),
    )


def rms_difference(variance: float) -> float:
    """Return the RMS difference of two clips: √(2 variance)."""
    return float(np.sqrt(2 * variance))


def read_real_differences(datasets: Sequence[ShardedDataset]) -> Differences:
    """Measure the first real clips of every data set, skipping damaged ones."""
    thumbnails, prompts = [], []
    share = max(2, NUM_REAL_CLIPS // len(datasets))
    for dataset in datasets:
        samples = dataset.iter_samples(skip_damaged=True)
        for _, sample in itertools.islice(samples, share):
            try:
                frames, prompt = decode_sample(sample, dataset.manifest.geometry)
            except ValueError:
                continue
            thumbnails.append(make_thumbnails(frames[None])[0])
            prompts.append(prompt)
    if not thumbnails:
        return Differences(None, None)
    return measure_real(np.stack(thumbnails), prompts)
