"""Near copies: which generated clips lie as close to a training clip as hardly any real clip does.

Clips are compared as thumbnails. How close is too close follows from the data: the distance that
only one real clip in a hundred keeps from its nearest neighbour among the other real clips.
"""

import numpy as np

from t2vgan.config import Frozen
from t2vgan.evaluation.scores import Interval, wilson_interval

THUMBNAIL_FRAMES, THUMBNAIL_SIDE = 4, 16
CLOSE_QUANTILE = 0.01  # of the distances of real clips from their nearest neighbours
MIN_REAL_CLIPS = 100  # below, that quantile means nothing


class NearCopies(Frozen):
    """Generated clips that repeat a training clip."""

    share: float
    """Of the generated clips: nearer to a training clip than `threshold`, or as near."""
    share_interval: Interval
    share_of_real: float
    """Of the real clips, as near to another one: about 1 %, more where the data repeats itself."""
    threshold: float
    """RMS difference of two thumbnails, grey levels."""
    num_training_clips: int
    """Training clips that were searched: the first of the data folder."""


def thumbnails(frames: np.ndarray) -> np.ndarray:
    """Return frames (N, T, H, W, 3) uint8 as float32 (N, D): four frames of 16x16 pixels each.

    The frames lie evenly from the first to the last, pixels are averaged by area.
    """
    import cv2

    times = evenly(frames.shape[1], THUMBNAIL_FRAMES)
    size = (THUMBNAIL_SIDE, THUMBNAIL_SIDE)
    small = [
        cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        for picture in frames[:, times].reshape(-1, *frames.shape[2:])
    ]
    return np.stack(small).reshape(len(frames), -1).astype(np.float32)


def evenly(num_frames: int, wanted: int) -> np.ndarray:
    """Return the places of `wanted` frames, evenly from the first of `num_frames` to the last."""
    return np.rint(np.linspace(0, num_frames - 1, wanted)).astype(np.int64)


def nearest_distances(
    queries: np.ndarray, pool: np.ndarray, same: np.ndarray | None = None
) -> np.ndarray:
    """Return the RMS distance of each of (N, D) thumbnails from the nearest of (M, D), (N,).

    `same` (N,) is each query's own place in the pool, out of range where it has none: no clip is a
    copy of itself.
    """
    squares = np.sum(pool * pool, axis=1) - 2 * queries @ pool.T  # less the queries' own squares
    if same is not None:
        rows = np.flatnonzero((same >= 0) & (same < len(pool)))
        squares[rows, same[rows]] = np.inf
    nearest = squares.argmin(axis=1)
    distances = np.sqrt(np.mean((queries - pool[nearest]) ** 2, axis=1))  # exact for equal clips
    return np.where(np.isinf(squares.min(axis=1)), np.inf, distances)


def near_copies(
    generated: np.ndarray, real: np.ndarray, num_training_clips: int
) -> NearCopies:
    """Judge the distances (N,) of generated and of real clips from their nearest training clips."""
    threshold = float(np.quantile(real, CLOSE_QUANTILE, method="lower"))
    num_close = int(np.count_nonzero(generated <= threshold))
    return NearCopies(
        share=num_close / len(generated),
        share_interval=wilson_interval(num_close, len(generated)),
        share_of_real=float(np.mean(real <= threshold)),
        threshold=threshold,
        num_training_clips=num_training_clips,
    )
