"""Derive the seed of every random draw from its name and position.

A draw is named by parts such as `(seed, "latents", step)`. It does not depend on rank, worker
count, wall clock or earlier draws, so a resumed run needs no generator state. NumPy promises that
the raw output of its bit generators never changes between versions.
"""

import hashlib

import numpy as np


def derive_seed(*parts: int | str) -> int:
    """Return a 63-bit seed for the draw named by `parts`."""
    digest = hashlib.sha256("\x1f".join(map(repr, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def random_generator(*parts: int | str) -> np.random.Generator:
    """Return a NumPy generator for the draw named by `parts`."""
    return np.random.Generator(np.random.Philox(key=derive_seed(*parts)))


def permutation(length: int, *parts: int | str) -> np.ndarray:
    """Return a permutation of 0..length-1, bit-stable across NumPy versions, as int64."""
    raw = np.random.Philox(key=derive_seed(*parts)).random_raw(length)
    return np.argsort(raw, kind="stable")
