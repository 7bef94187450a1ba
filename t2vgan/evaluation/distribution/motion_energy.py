"""Measure how much and how evenly a clip's pixels change."""

import numpy as np

from t2vgan.evaluation.prompt_accuracy.object_paths import Track

SMALLEST_SPEED = 0.25  # grey levels per step; below it a clip counts as being at rest
SMALLEST_WAY = 0.2  # length of a path, relative to the shorter side, below which it is at rest
MIN_STEPS = 4


def measure_motion(frames: np.ndarray, smallest_speed: float = SMALLEST_SPEED) -> np.ndarray:
    """Measure the energy and evenness of clips' motion.

    Frames are (N, T, H, W, 3) uint8. Returns (N, 2): the mean absolute difference of successive
    frames, in grey levels, and the coefficient of variation of that difference over the steps (NaN
    for clips at rest).
    """
    if frames.shape[1] < 2:
        return np.tile(np.array([0.0, np.nan]), (len(frames), 1))
    speeds = np.stack([_speeds(clip) for clip in frames])
    return np.stack([speeds.mean(axis=1), coefficient_of_variation(speeds, smallest_speed)], axis=1)


def _speeds(clip: np.ndarray) -> np.ndarray:
    """Return the mean absolute change in each step of a clip."""
    levels = clip.astype(np.int16)
    return np.abs(np.diff(levels, axis=0)).mean(axis=(1, 2, 3))


def coefficient_of_variation(speeds: np.ndarray, smallest: float = SMALLEST_SPEED) -> np.ndarray:
    """Return std / mean of speeds (N, S); NaN if at rest."""
    mean = speeds.mean(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(mean < smallest, np.nan, speeds.std(axis=1) / mean)


def path_speed_variation(track: Track) -> np.ndarray:
    """Return the coefficient of variation of each object's speed, (N,).

    NaN if the object is not seen in every frame, or stays in place.
    """
    steps = np.hypot(np.diff(track.x, axis=1), np.diff(track.y, axis=1))
    if steps.shape[1] < MIN_STEPS:
        return np.full(len(steps), np.nan)
    steps[~np.all(track.is_single, axis=1)] = np.nan
    return coefficient_of_variation(steps, SMALLEST_WAY * track.unit / steps.shape[1])
