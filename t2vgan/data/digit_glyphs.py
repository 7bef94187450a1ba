"""Handwritten digits: scikit-learn's bundled 8x8 pictures, one half to draw, the other to read by.

The halves never meet: what a digit is read by is not what any digit was drawn from. Of the half
that is drawn only legible pictures are, those that the other half names rightly and clearly.
"""

import importlib.util
from dataclasses import dataclass
from functools import cache

import numpy as np

from t2vgan.errors import UserError
from t2vgan.utils.seeds import permutation

NUM_DIGITS = 10
SIDE = 8  # of a picture, and of the grid that digits are compared on
SPLIT_SEED = 0
MAX_LIKENESS = 0.75  # of a legible picture: how near its own digit is, over how near another one is
MAX_DISTANCE = 0.36  # to the nearest one to read by: drawn ones stay below 0.31, blots above 0.39
REACH = 1.8  # of the grid from the ink's centre, over the ink's root mean square distance from it


@dataclass(frozen=True)
class Pictures:
    """N digits: ink (N, 8, 8) float32 from 0 (paper) to 1, and which digit each is, (N,) int."""

    ink: np.ndarray
    digits: np.ndarray

    def select(self, chosen: np.ndarray) -> "Pictures":
        """Return some of the pictures: (N,) bool, or indices."""
        return Pictures(self.ink[chosen], self.digits[chosen])


@cache
def drawn_half() -> Pictures:
    """Return the legible pictures of the half that clips are drawn from."""
    drawn, _ = _halves()
    patterns = describe(drawn.ink)
    distance = _distances(patterns)
    rows = np.arange(len(patterns))
    own = distance[rows, drawn.digits]
    distance[rows, drawn.digits] = np.inf
    return drawn.select(own < MAX_LIKENESS * distance.min(axis=1))


def read(ink: np.ndarray) -> np.ndarray:
    """Name the digit in each of (N, H, W) float32 pictures of ink: (N,) int8, -1 if like none."""
    distance = _distances(describe(ink))
    named = distance.argmin(axis=1)
    return np.where(distance.min(axis=1) <= MAX_DISTANCE, named, -1).astype(np.int8)


def check_installed() -> None:
    """Raise UserError, before any work, where the pictures are not at hand."""
    if importlib.util.find_spec("sklearn") is None:
        raise UserError("digits need scikit-learn's pictures: pip install 't2vgan[digits]'")


def describe(ink: np.ndarray) -> np.ndarray:
    """Return pictures (N, H, W) as patterns (N, 64) of norm 1, whatever the digit's place and size.

    A grid of 8x8 lies about the ink's centre, as wide as the ink is spread; each of its points
    takes the ink around it, weighted by a tent.
    """
    per_row, per_column = ink.sum(axis=2), ink.sum(axis=1)
    total = np.maximum(per_row.sum(axis=1), 1e-6)
    middles, variance = [], np.zeros(len(ink))
    for profile in (per_row, per_column):
        place = np.arange(profile.shape[1])
        middle = profile @ place / total
        variance += (profile * (place - middle[:, None]) ** 2).sum(axis=1) / total
        middles.append(middle)
    step = 2 * REACH * np.sqrt(variance) / SIDE
    rows, columns = (
        _tents(middle, step, length) for middle, length in zip(middles, ink.shape[1:], strict=True)
    )
    patterns = (rows @ ink @ columns.swapaxes(1, 2)).reshape(len(ink), SIDE * SIDE)
    return patterns / np.maximum(np.linalg.norm(patterns, axis=1, keepdims=True), 1e-6)


def _tents(middle: np.ndarray, step: np.ndarray, length: int) -> np.ndarray:
    """Return the weights of `length` pixels at each point of the grid's side, (N, 8, length)."""
    points = middle[:, None] + step[:, None] * (np.arange(SIDE) - (SIDE - 1) / 2)
    away = np.abs(np.arange(length) - points[..., None]) / np.maximum(step, 1)[:, None, None]
    return np.maximum(1 - away, 0).astype(np.float32)


def _distances(patterns: np.ndarray) -> np.ndarray:
    """Return how far (N, 64) patterns are from the nearest picture of each digit, (N, 10)."""
    references, digits = _references()
    alike = patterns @ references.T
    nearest = np.stack([alike[:, digits == d].max(axis=1) for d in range(NUM_DIGITS)], axis=1)
    return np.sqrt(np.maximum(2 - 2 * nearest, 0))


@cache
def _references() -> tuple[np.ndarray, np.ndarray]:
    _, kept = _halves()
    return describe(kept.ink), kept.digits


@cache
def _halves() -> tuple[Pictures, Pictures]:
    """Return the pictures to draw and those to read by: half of each digit's, by a fixed seed."""
    check_installed()
    from sklearn.datasets import load_digits

    bunch = load_digits()
    every = Pictures((bunch.images / bunch.images.max()).astype(np.float32), bunch.target)
    is_drawn = np.zeros(len(every.digits), bool)
    for digit in range(NUM_DIGITS):
        places = np.flatnonzero(every.digits == digit)
        order = permutation(len(places), SPLIT_SEED, "drawn digits", digit)
        is_drawn[places[order[: len(places) // 2]]] = True
    return every.select(is_drawn), every.select(~is_drawn)
