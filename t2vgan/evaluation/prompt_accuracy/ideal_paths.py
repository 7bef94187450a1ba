"""Measure the distance of tracks from ideal paths of their motions.

Straight motion is uniform along its direction, an orbit is a circle at a constant rate, a bounce is
a triangle wave along its axis, a zigzag is one across uniform motion, and an object that changes
its size stands still. All parameters (position, speed, radius, amplitude, phase, rate) are fitted
by least squares.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from t2vgan.evaluation.prompt_accuracy.motion import BOUNCE_TURNS, MIN_SHARE_SINGLE, ZIGZAG_TURNS
from t2vgan.evaluation.prompt_accuracy.object_paths import Track

RIGHT, DOWN = np.array([1.0, 0.0]), np.array([0.0, 1.0])
STRAIGHT = {"up": -DOWN, "down": DOWN, "left": -RIGHT, "right": RIGHT}
ORBIT_TURNS = (0.8, 2.0)
PHASES = (0.0, 1.0)  # of a triangle wave of either sign
NUM_GRID_POINTS = 41  # for each unknown rate or phase
ZOOM, NUM_ZOOMS = (-1, -0.5, 0, 0.5, 1), 7  # refinements around the best point, halving the step

CLIPS_AT_ONCE = 32  # limits the memory of the grid's waves

Range = tuple[float, float]
Wave = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(..., 1, K) unknowns, (T,) time from 0 to 1 -> (..., T)."""


def path_residuals(track: Track, motions: Sequence[str]) -> np.ndarray:
    """Measure each track's RMS distance from its ideal path, (N,) pixels.

    Only frames with a single object that does not touch the edge count. NaN for the motion "none",
    and for clips with too few such frames.
    """
    valid = track.is_single & ~track.cut
    position = np.stack([track.x, track.y], axis=-1)
    residuals = np.full(len(position), np.nan)
    enough = valid.mean(axis=1) >= MIN_SHARE_SINGLE
    for motion in sorted(set(motions) - {"none"}):
        clips = np.flatnonzero(enough & (np.array(motions) == motion))
        for chunk in np.array_split(clips, -(-len(clips) // CLIPS_AT_ONCE)) if len(clips) else ():
            distance = path_deviation(position[chunk], valid[chunk], motion)
            residuals[chunk] = np.sqrt(np.square(distance).sum((1, 2)) / valid[chunk].sum(axis=1))
    return residuals


def path_deviation(position: np.ndarray, valid: np.ndarray, motion: str) -> np.ndarray:
    """Return the deviation of positions from a motion's nearest path.

    Both are (N, T, 2), x to the right, y downwards. The path is fitted to the valid frames (N, T);
    in others the deviation is 0.
    """
    moved = _centred(position.swapaxes(1, 2), valid[:, None]).swapaxes(1, 2)

    def fit_along(axis: np.ndarray, wave: Wave, *ranges: Range) -> np.ndarray:
        return _fit(moved @ axis, valid, wave, ranges)[..., None] * axis

    kind, _, way = motion.partition(" ")
    axis = DOWN if way == "vertically" else RIGHT
    if kind == "rotating":
        return moved - _orbit(moved, valid, sense=1 if way == "clockwise" else -1)
    if kind == "bouncing":
        return moved - fit_along(axis, _triangle_wave, PHASES, _num_legs(BOUNCE_TURNS))
    if kind == "zigzagging":
        across = fit_along(axis[::-1], _triangle_wave, PHASES, _num_legs(ZIGZAG_TURNS))
        return moved - fit_along(axis, _line) - across
    if kind in ("shrinking", "expanding"):
        return moved
    direction = np.sum([STRAIGHT[part] for part in kind.split("-")], axis=0)
    return moved - fit_along(direction / np.linalg.norm(direction), _line)


def _num_legs(turns: tuple[int, int]) -> tuple[int, int]:
    """Return the range of the number of straight legs for these turns."""
    return turns[0], turns[1] + 1


def _triangle_wave(unknown: np.ndarray, time: np.ndarray) -> np.ndarray:
    phase, legs = unknown[..., 0], unknown[..., 1]
    return np.abs(np.mod(phase + legs * time, 2) - 1)


def _line(unknown: np.ndarray, time: np.ndarray) -> np.ndarray:
    return np.broadcast_to(time, (*unknown.shape[:-2], len(time)))


def _orbit(moved: np.ndarray, valid: np.ndarray, *, sense: int) -> np.ndarray:
    """Fit a circle; angles increase clockwise, because y points downwards."""

    def circle(turns: np.ndarray, time: np.ndarray) -> np.ndarray:
        return np.exp(2j * np.pi * sense * turns[..., 0] * time)

    fitted = _fit(moved[..., 0] + 1j * moved[..., 1], valid, circle, [ORBIT_TURNS])
    return np.stack([fitted.real, fitted.imag], axis=-1)


def _fit(values: np.ndarray, valid: np.ndarray, wave: Wave, ranges: Sequence[Range]) -> np.ndarray:
    """Fit a multiple of a centred wave to centred values (N, T).

    The wave's unknowns are searched on a grid, which is refined around the best point. The multiple
    is found by projection; if values are complex it is complex, so it includes a rotation.
    """
    time = np.linspace(0, 1, values.shape[1])

    def project(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return waves of norm 1 and their multiples (N, P).

        The points are (N or 1, P, K).
        """
        waves = _centred(wave(points[:, :, None], time), valid[:, None])
        waves = waves / np.maximum(np.linalg.norm(waves, axis=-1, keepdims=True), 1e-12)
        return waves, (values[:, None] * waves.conj()).sum(axis=-1)

    def best_of(points: np.ndarray) -> np.ndarray:
        best = np.abs(project(points)[1]).argmax(axis=1)
        points = np.broadcast_to(points, (len(values), *points.shape[1:]))
        return points[np.arange(len(values)), best][:, None]  # (N, 1, K)

    axes = [np.linspace(*limits, NUM_GRID_POINTS) for limits in ranges]
    step = np.array([axis[1] - axis[0] for axis in axes])
    best = best_of(np.array(list(itertools.product(*axes)))[None])
    for _ in range(NUM_ZOOMS if axes else 0):
        best = best_of(best + step * np.array(list(itertools.product(ZOOM, repeat=len(axes)))))
        step = step / 2
    waves, multiples = project(best)
    return (multiples[..., None] * waves)[:, 0]


def _centred(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Subtract the mean over valid frames (..., T); others become 0."""
    count = np.maximum(valid.sum(axis=-1, keepdims=True), 1)
    mean = np.where(valid, values, 0).sum(axis=-1, keepdims=True) / count
    return np.where(valid, values - mean, 0)
