"""Find generated clips that nearly copy a training clip.

Clips are compared as thumbnails. The threshold is determined by the data: it is the 1 % quantile of
the distances of real clips from their nearest neighbours among other real clips.
"""

from collections.abc import Sequence

import numpy as np

from t2vgan.distributed.context import DistributedContext
from t2vgan.evaluation.real_clips import RealClips
from t2vgan.evaluation.scores import Interval, wilson_interval
from t2vgan.evaluation.sharding import map_over_ranks
from t2vgan.utils.frozen import Frozen

THUMBNAIL_FRAMES, THUMBNAIL_SIDE = 4, 12
CLOSE_QUANTILE = 0.01  # of the distances of real clips from their nearest neighbours
NUM_DECIMALS = 3  # of distances in grey levels
MAX_TRAINING_CLIPS = 20_000  # to search
MIN_REAL_CLIPS = 100  # with fewer, that quantile is meaningless


class NearCopies(Frozen):
    """Generated clips that repeat a training clip."""

    share: float
    """Share of generated clips at most `threshold` from a training clip."""
    share_interval: Interval
    share_of_real: float
    """The same share of real clips, from another one: about 1 %, more if the data has repeats."""
    threshold: float
    """RMS difference of two thumbnails in grey levels."""
    num_training_clips: int
    """Number of searched training clips, the first of each part of the data."""


def make_thumbnails(frames: np.ndarray) -> np.ndarray:
    """Shrink clips to thumbnails (N, D) float32.

    Frames are (N, T, H, W, 3) uint8. A thumbnail has four evenly spaced frames, from the first to
    the last, of 12x12 pixels, averaged by area.
    """
    import cv2

    times = even_frame_indices(frames.shape[1], THUMBNAIL_FRAMES)
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    small = [
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        for picture in frames[:, times].reshape(-1, *frames.shape[2:])
    ]
    return np.stack(small).reshape(len(frames), -1).astype(np.float32)


def even_frame_indices(num_frames: int, wanted: int) -> np.ndarray:
    """Return the indices of `wanted` evenly spaced frames, first to last."""
    return np.rint(np.linspace(0, num_frames - 1, wanted)).astype(np.int64)


def nearest_distances(
    queries: np.ndarray, pool: np.ndarray, same: np.ndarray | None = None
) -> np.ndarray:
    """Compute each thumbnail's RMS distance from the nearest of a pool, (N,).

    Thumbnails are (N, D) and (M, D). `same` (N,) is each query's own index in the pool, which is
    excluded, or out of range if it is not in the pool. Distances are rounded, so that equal clips
    have distance 0 exactly.
    """
    queries, pool = queries.astype(np.float64), pool.astype(np.float64)
    squares = np.sum(queries**2, axis=1)[:, None] + np.sum(pool**2, axis=1) - 2 * queries @ pool.T
    if same is not None:
        rows = np.flatnonzero((same >= 0) & (same < len(pool)))
        squares[rows, same[rows]] = np.inf
    nearest = np.maximum(squares.min(axis=1), 0) / queries.shape[1]
    return np.sqrt(nearest).round(NUM_DECIMALS)


def find_near_copies(
    generated: np.ndarray,
    real: np.ndarray,
    real_clips: RealClips,
    context: DistributedContext,
) -> NearCopies | None:
    """Search the training clips for those that generated clips copy (collective).

    generated (N, D) and real (M, D) are thumbnails, the latter those of `real_clips`. Returns None
    if there are too few real clips to determine the threshold.
    """
    if len(real) < MIN_REAL_CLIPS:
        return None
    training = RealClips(real_clips.data, MAX_TRAINING_CLIPS)
    own = real_clips.indices_in(training)

    def search(indices: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        pool = make_thumbnails(training.read(indices)[0])
        return nearest_distances(generated, pool), nearest_distances(real, pool, own - indices[0])

    parts = map_over_ranks(context, training.num_clips, search, label="training clips")
    from_generated, from_real = (np.min(part, axis=0) for part in zip(*parts, strict=True))
    return compute_near_copies(from_generated, from_real, training.num_clips)


def compute_near_copies(
    generated: np.ndarray, real: np.ndarray, num_training_clips: int
) -> NearCopies:
    """Compute the share of near copies from nearest-neighbour distances (N,), (M,)."""
    threshold = float(np.quantile(real, CLOSE_QUANTILE, method="lower"))
    num_close = int(np.count_nonzero(generated <= threshold))
    return NearCopies(
        share=num_close / len(generated),
        share_interval=wilson_interval(num_close, len(generated)),
        share_of_real=float(np.mean(real <= threshold)),
        threshold=threshold,
        num_training_clips=num_training_clips,
    )
