"""Handwritten digits: scikit-learn's 8x8 images, to draw and to classify.

One half of the images is drawn, the other half is the reference of the classifier, so that no digit
is classified by the image that it was drawn from. Of the drawn half only legible images are used:
those that the reference half classifies rightly and clearly.
"""

import importlib.util
from dataclasses import dataclass
from functools import cache

import numpy as np

from t2vgan.errors import UserError
from t2vgan.utils.seeds import permutation

NUM_DIGITS = 10
SIDE = 8  # of an image, and of the grid that digits are compared on
SPLIT_SEED = 0
MAX_RATIO = 0.75  # of a legible image: distance to its own digit over that to the next one
MAX_DISTANCE = 0.36  # to the nearest reference: drawn images stay below 0.31, blots above 0.39
REACH = 1.8  # of the grid from the ink's centre, over the ink's root mean square distance from it


@dataclass(frozen=True)
class DigitImages:
    """N images of digits.

    ink: (N, 8, 8) float32, 0 on paper to 1. digits: (N,) int.
    """

    ink: np.ndarray
    digits: np.ndarray

    def select(self, chosen: np.ndarray) -> "DigitImages":
        """Return some of the images; `chosen` is (N,) bool, or indices."""
        return DigitImages(self.ink[chosen], self.digits[chosen])


@cache
def load_drawn_digits() -> DigitImages:
    """Return the legible images of the drawn half."""
    drawn, _ = _halves()
    patterns = compute_patterns(drawn.ink)
    distance = _distances(patterns)
    rows = np.arange(len(patterns))
    own = distance[rows, drawn.digits]
    distance[rows, drawn.digits] = np.inf
    return drawn.select(own < MAX_RATIO * distance.min(axis=1))


def classify_digits(ink: np.ndarray) -> np.ndarray:
    """Classify images of ink (N, H, W) float32 as digits.

    Returns (N,) int8, -1 where the ink is like no digit.
    """
    distance = _distances(compute_patterns(ink))
    nearest = distance.argmin(axis=1)
    return np.where(distance.min(axis=1) <= MAX_DISTANCE, nearest, -1).astype(np.int8)


def check_installed() -> None:
    """Raise UserError where scikit-learn, which has the images, is missing."""
    if importlib.util.find_spec("sklearn") is None:
        raise UserError("digits need scikit-learn's pictures: pip install 't2vgan[digits]'")


def compute_patterns(ink: np.ndarray) -> np.ndarray:
    """Normalise images (N, H, W) to patterns (N, 64) of norm 1.

    Independent of the digit's position and size: a grid of 8x8 lies about the ink's centre, as wide
    as the ink is spread; each of its points sums the ink around it, weighted by a tent.
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
    """Return pixel weights at each grid point, (N, 8, length)."""
    points = middle[:, None] + step[:, None] * (np.arange(SIDE) - (SIDE - 1) / 2)
    away = np.abs(np.arange(length) - points[..., None]) / np.maximum(step, 1)[:, None, None]
    return np.maximum(1 - away, 0).astype(np.float32)


def _distances(patterns: np.ndarray) -> np.ndarray:
    """Return distances (N, 10) of patterns to each digit's nearest reference."""
    references, digits = _references()
    alike = patterns @ references.T
    nearest = np.stack([alike[:, digits == d].max(axis=1) for d in range(NUM_DIGITS)], axis=1)
    return np.sqrt(np.maximum(2 - 2 * nearest, 0))


@cache
def _references() -> tuple[np.ndarray, np.ndarray]:
    _, kept = _halves()
    return compute_patterns(kept.ink), kept.digits


@cache
def _halves() -> tuple[DigitImages, DigitImages]:
    """Return drawn and reference images: half of each digit's, fixed seed."""
    check_installed()
    from sklearn.datasets import load_digits

    bunch = load_digits()
    every = DigitImages((bunch.images / bunch.images.max()).astype(np.float32), bunch.target)
    is_drawn = np.zeros(len(every.digits), bool)
    for digit in range(NUM_DIGITS):
        places = np.flatnonzero(every.digits == digit)
        order = permutation(len(places), SPLIT_SEED, "drawn digits", digit)
        is_drawn[places[order[: len(places) // 2]]] = True
    return every.select(is_drawn), every.select(~is_drawn)
