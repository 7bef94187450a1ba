"""Measure how much clips that show the same vary."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from t2vgan.evaluation.prompt_accuracy.prompts import merge_paraphrases

GroupedBy = Literal["prompt", "label", "nothing"]

MIN_GROUP = 4  # clips, of which most clips must have as many of their group
SMALLEST_VARIANCE = 1e-9  # of real clips; below it is rounding


def group_clips(prompts: Sequence[str], labels: Sequence[str]) -> tuple[GroupedBy, list[str]]:
    """Group clips by prompt, else by label, else not at all.

    Prompts that ask for the same in other words count as one. A kind of group is used if most
    clips have at least `MIN_GROUP` in theirs.
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
    """Return the variance within each group of two clips or more.

    values (N, D); the unbiased variance of every dimension, averaged over dimensions.
    """
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        rows.setdefault(group, []).append(row)
    return {
        group: float(values[members].astype(np.float64).var(axis=0, ddof=1).mean())
        for group, members in rows.items()
        if len(members) > 1
    }


def variance_ratio(
    generated: Mapping[str, float], real: Mapping[str, float]
) -> tuple[float | None, int]:
    """Return the ratio of the deviations within groups, and their number.

    The root of the mean variance over the groups that both have; None where real clips do not
    vary, or no group is in both.
    """
    common = [group for group in generated if group in real]
    ours, theirs = (sum(side[group] for group in common) for side in (generated, real))
    if not common or theirs < SMALLEST_VARIANCE * len(common):
        return None, len(common)
    return float(np.sqrt(ours / theirs)), len(common)
