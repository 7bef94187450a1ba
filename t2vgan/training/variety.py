"""Measure what prompts and seeds change, relative to real clips."""

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from t2vgan.data.dataset import ShardedDataset
from t2vgan.data.shards import decode_sample

NUM_REAL_CLIPS = 500
THUMBNAIL = 16  # pixels per side, about: small, and blind to noise


@dataclass(frozen=True)
class Differences:
    """RMS differences between clips, in grey levels; None without pairs."""

    prompts: float | None
    """Between clips of different prompts; of generated clips, with the same seed."""
    seeds: float | None
    """Between clips of one prompt."""


@dataclass(frozen=True)
class Variety:
    """Differences of generated and real clips."""

    generated: Differences
    real: Differences

    @property
    def prompts(self) -> float | None:
        """Difference that prompts make; 1 as between real clips."""
        return divide(self.generated.prompts, self.real.prompts)

    @property
    def seeds(self) -> float | None:
        """Difference that seeds make, 1 as between real clips of a prompt.

        Where no prompt has two clips, as between real clips of different prompts.
        """
        real = self.real.prompts if self.real.seeds is None else self.real.seeds
        return divide(self.generated.seeds, real)


def divide(generated: float | None, real: float | None) -> float | None:
    """Return the ratio; None where it is not defined."""
    return None if generated is None or not real else generated / real


def measure_generated(clips: np.ndarray, num_seeds: int) -> Differences:
    """Compare clips of P prompts with the same S seeds each.

    Clips (P * S, T, H, W, 3), those of a prompt in a row. The mean square of the difference of two
    is twice the variance.
    """
    small = shrink(clips)
    by_prompt = small.reshape(-1, num_seeds, *small.shape[1:])
    return Differences(
        prompts=rms_difference(by_prompt.var(0, ddof=1)) if len(by_prompt) > 1 else None,
        seeds=rms_difference(by_prompt.var(1, ddof=1)) if num_seeds > 1 else None,
    )


def measure_real(clips: np.ndarray, prompts: Sequence[str]) -> Differences:
    """Compare real clips (N, T, H, W, 3) within and between prompts."""
    groups = defaultdict(list)
    for clip, prompt in zip(shrink(clips), prompts, strict=True):
        groups[prompt].append(clip)
    means = np.stack([np.mean(group, axis=0) for group in groups.values()])
    num_pairs = sum(len(group) - 1 for group in groups.values())
    within = None
    if num_pairs:
        squares = [len(g) * np.var(g, axis=0) for g in groups.values() if len(g) > 1]
        within = np.sum(squares, axis=0) / num_pairs
    if len(means) < 2:
        between = None
    else:  # of two clips: that of their prompts' means, and of each within its prompt
        between = means.var(0, ddof=1)
        if within is not None:
            share = np.mean([1 - 1 / len(group) for group in groups.values()])
            between = between + share * within
    return Differences(
        prompts=None if between is None else rms_difference(between),
        seeds=None if within is None else rms_difference(within),
    )


def rms_difference(variance: np.ndarray) -> float:
    """Return the RMS difference of two clips, from each value's variance."""
    return float(np.sqrt(2 * variance.mean()))


def shrink(clips: np.ndarray) -> np.ndarray:
    """Average (N, T, H, W, 3) over squares, to about THUMBNAIL rows."""
    num_clips, num_frames, height, width, channels = clips.shape
    side = max(1, min(height, width) // THUMBNAIL)
    rows, columns = height // side, width // side
    cut = clips[:, :, : rows * side, : columns * side].astype(np.float32)
    shape = (num_clips, num_frames, rows, side, columns, side, channels)
    return cut.reshape(shape).mean((3, 5))


def read_real_differences(datasets: Sequence[ShardedDataset]) -> Differences:
    """Measure the first real clips of every part, without damaged ones."""
    clips, prompts = [], []
    share = max(2, NUM_REAL_CLIPS // len(datasets))
    for dataset in datasets:
        samples = dataset.iter_samples(skip_damaged=True)
        for _, sample in itertools.islice(samples, share):
            try:
                frames, prompt = decode_sample(sample, dataset.manifest.geometry)
            except ValueError:
                continue
            clips.append(shrink(frames[None])[0])
            prompts.append(prompt)
    return measure_real(np.stack(clips), prompts) if clips else Differences(None, None)
