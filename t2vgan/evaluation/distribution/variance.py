"""Measure the variance of clips within groups that show the same."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from t2vgan.evaluation.prompt_accuracy.prompts import merge_paraphrases

GroupedBy = Literal["prompt", "label", "nothing"]

MIN_GROUP = 4  # size of a group that counts as large; most clips must be in such groups
SMALLEST_VARIANCE = 1e-9  # of real clips; smaller ones are rounding errors


def group_clips(prompts: Sequence[str], labels: Sequence[str]) -> tuple[GroupedBy, list[str]]:
    """Group clips by prompt, else by label, else not at all.

    Paraphrases count as one prompt. A grouping is used if more than half of the clips are in groups
    of at least `MIN_GROUP`.
    """
    merged = merge_paraphrases(prompts)
    if _are_large(merged):
        return "prompt", merged
    if labels and _are_large(labels):
        return "label", list(labels)
    return "nothing", [""] * len(prompts)


def _are_large(groups: Sequence[str]) -> bool:
    counts = Counter(groups)
    return 2 * sum(n for n in counts.values() if n >= MIN_GROUP) > len(groups)


def group_variances(values: np.ndarray, groups: Sequence[str]) -> dict[str, float]:
    """Return the variance within each group of two or more clips.

    For values (N, D), it is the unbiased variance of each dimension, averaged over dimensions.
    """
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    return {
        group: float(values[members].astype(np.float64).var(axis=0, ddof=1).mean())
        for group, members in rows.items()
        if len(members) > 1
    }


def variance_ratio(generated: Mapping[str, float], real: Mapping[str, float]) -> float | None:
    """Return the ratio of stds within groups.

    The std is the root of the mean variance over the groups that both have. The ratio is None if
    real clips do not vary, or no group is in both.
    """
    common = [group for group in generated if group in real]
    ours, theirs = (sum(side[group] for group in common) for side in (generated, real))
    if not common or theirs < SMALLEST_VARIANCE * len(common):
        return None
    return float(np.sqrt(ours / theirs))
