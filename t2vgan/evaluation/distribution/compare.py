"""Compare the distribution of generated clips with that of real ones."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from t2vgan.evaluation.clip_features import ClipFeatures
from t2vgan.evaluation.distribution.distances import frechet_distance, kernel_distance
from t2vgan.evaluation.distribution.fvd import PROTOCOL
from t2vgan.utils.frozen import Frozen

CLIPS_PER_FEATURE = 2  # fewer, and a covariance says more about the draw than about the clips


class Distance(Frozen):
    """A distance of generated clips from real ones."""

    generated: float
    """From as many real clips."""
    floor: float
    """The same between two disjoint sets of as many real clips: what a perfect generator gets."""
    num_clips: int
    """Clips in each of the three sets."""
    num_features: int


class Distribution(Frozen):
    """Distances on features; None where clips are too few."""

    features_sha256: str
    """Of the file of the small classifier."""
    frechet: Distance | None
    kernel: Distance | None
    """Unbiased, so either number may be slightly negative."""
    fvd: Distance | None
    """The Frechet distance on features of the user's network."""
    fvd_weights_sha256: str | None
    fvd_protocol: str | None


def measure_distribution(
    generated: ClipFeatures, real: ClipFeatures, *, features_sha256: str, fvd_sha256: str | None
) -> Distribution:
    """Compare generated clips (of training prompts) with real ones."""
    fvd = None
    if generated.video_features is not None and real.video_features is not None:
        fvd = measure_distance(frechet_distance, generated.video_features, real.video_features)
    return Distribution(
        features_sha256=features_sha256,
        frechet=measure_distance(frechet_distance, generated.features, real.features),
        kernel=measure_distance(kernel_distance, generated.features, real.features),
        fvd=fvd,
        fvd_weights_sha256=fvd_sha256,
        fvd_protocol=fvd_sha256 and PROTOCOL,
    )


def comparable_clips(
    prompts: Sequence[str], usable: np.ndarray, all_prompts: Iterable[str]
) -> np.ndarray:
    """Return the indices of the clips that distances compare with real ones.

    `usable` is (N,) bool. All of these, if they show all prompts. Of a choice of prompts the first
    clip each, for several clips of one prompt are alike as real clips of many prompts are not: a
    perfect generator would be far.
    """
    indices = np.flatnonzero(usable)
    shown = [prompts[index] for index in indices.tolist()]
    if set(all_prompts) <= set(shown):
        return indices
    return indices[[shown.index(prompt) for prompt in dict.fromkeys(shown)]]


def measure_distance(
    distance: Callable[[np.ndarray, np.ndarray], float], generated: np.ndarray, real: np.ndarray
) -> Distance | None:
    """Measure the distance of generated features from real ones, and its floor.

    Features (N, F) and (M, F). Generated clips are compared with the first k real clips, and these
    with the next k, where k is as large as both sets allow: all numbers are then equally biased.
    None where k is too small.
    """
    size, num_features = min(len(generated), len(real) // 2), real.shape[1]
    if size < CLIPS_PER_FEATURE * num_features:
        return None
    return Distance(
        generated=distance(generated[:size], real[:size]),
        floor=distance(real[size : 2 * size], real[:size]),
        num_clips=size,
        num_features=num_features,
    )


def list_missing_distances(
    distribution: Distribution, generated: ClipFeatures, real: ClipFeatures
) -> list[str]:
    """List the distances that lack clips, and how many they need."""
    sizes = {"Frechet and kernel distance": (distribution.frechet, real.features)}
    if real.video_features is not None:
        sizes["FVD"] = (distribution.fvd, real.video_features)
    return [
        f"{name}: needs {CLIPS_PER_FEATURE * features.shape[1]} readable clips of training prompts "
        f"and {2 * CLIPS_PER_FEATURE * features.shape[1]} real ones, "
        f"found {len(generated.features)} and {len(real.features)}"
        for name, (distance, features) in sizes.items()
        if distance is None
    ]
