"""Place two objects side by side, in view and rarely touching."""

import numpy as np

from t2vgan.data.shards import Geometry

from .motions import REFERENCE_SIDE, Paths

NUM_PLACES = 32  # candidates; the first good one is used, or else the best
DISTANCE = (20, 38)  # between the centres of two paths, pixels of the reference frame
REACH = 1.4  # extent of an object, in radii
GAP = 3  # pixels of the reference frame between two objects
SHOWN = 0.9  # minimum distance of an object's centre from the frame's edge, in radii


def keep_apart(
    first: Paths, second: Paths, numbers: np.ndarray, geometry: Geometry
) -> tuple[Paths, Paths]:
    """Move each clip's two paths from the frame's centre in opposite directions.

    Of the placements drawn from numbers (N, 2 or more), use the first in which both objects stay
    in view and never touch, or else the one closest to that.
    """
    scale = min(geometry.height, geometry.width) / REFERENCE_SIDE
    shifts = _places(numbers) * scale / 2  # (P, N, 2)
    apart = first.centres - second.centres
    needed = REACH * (first.radii + second.radii) + GAP * scale
    distance = np.linalg.norm(apart + 2 * shifts[:, :, None], axis=-1)  # (P, N, T)
    faults = np.maximum(needed - distance, 0).max(axis=-1)
    faults += _outside(first, shifts, geometry) + _outside(second, -shifts, geometry)
    best = faults.round(3).argmin(axis=0)
    shift = shifts[best, np.arange(len(numbers)), None]  # (N, 1, 2)
    return first.moved(shift), second.moved(-shift)


def _places(numbers: np.ndarray) -> np.ndarray:
    """Return candidate offsets between the two objects, (P, N, 2).

    Steps of the golden ratio spread directions and distances evenly for any number of candidates.
    """
    steps = np.arange(NUM_PLACES)[:, None] * (np.sqrt(5) - 1) / 2
    angle = 2 * np.pi * ((numbers[:, 0] + steps) % 1)
    low, high = DISTANCE
    distance = low + (high - low) * ((numbers[:, 1] + steps * np.sqrt(2)) % 1)
    return distance[..., None] * np.stack([np.cos(angle), np.sin(angle)], axis=-1)


def _outside(paths: Paths, shift: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Return how far moved paths leave the frame at most, (P, N)."""
    margin = SHOWN * paths.radii[..., None]
    lowest = (paths.centres - margin).min(axis=1) + shift
    highest = (paths.centres + margin).max(axis=1) + shift
    beyond = highest - (geometry.width - 1, geometry.height - 1)
    return np.maximum(np.maximum(-lowest, beyond), 0).max(axis=-1)
