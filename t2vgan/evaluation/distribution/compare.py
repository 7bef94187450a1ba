"""Compare the distribution of generated clips with that of real ones."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from t2vgan.evaluation.clip_features import ClipFeatures
from t2vgan.evaluation.distribution.distances import frechet_distance, kernel_distance
from t2vgan.evaluation.distribution.fvd import VideoFeatureExtractor
from t2vgan.evaluation.probe.probe import Probe
from t2vgan.utils.frozen import Frozen
from t2vgan.utils.seeds import permutation

CLIPS_PER_FEATURE = 2  # with fewer, the estimated covariance is unreliable


class Distance(Frozen):
    """A distance between generated and real clips."""

    generated: float
    """Distance between generated clips and as many real clips."""
    floor: float
    """Distance between two disjoint sets of as many real clips: that of a perfect generator."""
    num_clips: int
    """Number of clips in each of the three sets."""
    num_features: int


class Distribution(Frozen):
    """Distances between features; None if clips are too few."""

    features_sha256: str
    """Checksum of the probe whose features are compared."""
    frechet: Distance | None
    kernel: Distance | None
    """Unbiased, so either number may be slightly negative."""
    fvd: Distance | None
    """The Frechet distance between features of the user's network."""
    fvd_weights_sha256: str | None
    fvd_protocol: str | None


def measure_distribution(
    generated: ClipFeatures,
    real: ClipFeatures,
    probe: Probe,
    network: VideoFeatureExtractor | None,
    seed: int,
) -> tuple[Distribution, list[str]]:
    """Compare generated clips (of training prompts) with real ones.

    The probe has its own features of real clips; `network` is the user's, for FVD. Returns the
    distances, and notes on those for which clips are too few.
    """
    features = generated.features, probe.features
    frechet, kernel = (
        measure_distance(distance, *features) for distance in (frechet_distance, kernel_distance)
    )
    fvd, notes = None, []
    if frechet is None:
        notes.append(_missing("Frechet and kernel distance", *features))
    if generated.video_features is not None and real.video_features is not None:
        # Real clips are shuffled, because they are ordered by the parts of a mixture.
        order = permutation(len(real.video_features), seed, "real clips")
        video_features = generated.video_features, real.video_features[order]
        fvd = measure_distance(frechet_distance, *video_features)
        if fvd is None:
            notes.append(_missing("FVD", *video_features))
    return Distribution(
        features_sha256=probe.sha256,
        frechet=frechet,
        kernel=kernel,
        fvd=fvd,
        fvd_weights_sha256=None if network is None else network.sha256,
        fvd_protocol=None if network is None else network.protocol,
    ), notes


def _missing(name: str, generated: np.ndarray, real: np.ndarray) -> str:
    needed = CLIPS_PER_FEATURE * real.shape[1]
    return (
        f"{name}: needs {needed} readable clips of training prompts "
        f"and {2 * needed} real ones that the probe was not trained on, "
        f"found {len(generated)} and {len(real)}"
    )


def comparable_clips(
    prompts: Sequence[str], usable: np.ndarray, all_prompts: Iterable[str]
) -> np.ndarray:
    """Return the indices of the clips that distances compare with real ones.

    These are all clips in `usable`, (N,) bool, if they show all prompts. Otherwise it is the first
    clip of each prompt: several clips of few prompts are more alike than real clips of many
    prompts, so even a perfect generator would have a large distance.
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

    Features are (N, F) and (M, F). The first k generated clips are compared with the first k real
    clips, and these with the next k, where k is as large as both sets allow, so that both numbers
    are equally biased. Returns None if k is too small.
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
