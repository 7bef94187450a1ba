"""Frechet and kernel distance between two sets of features."""

import numpy as np


def frechet_distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Compute the Frechet distance between Gaussians fitted to two feature sets.

    Heusel et al. 2017; features (N, D) and (M, D). It is biased upwards if N and M are small, so it
    must be compared only with distances between sets of as many real clips.
    """
    return frechet_of_moments(_mean(ours), _covariance(ours), _mean(theirs), _covariance(theirs))


def frechet_of_moments(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> float:
    """Compute the Frechet distance between two Gaussians.

    |a - b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2) for means (D,) and covariances (D, D).
    """
    root = _root(covariance_a)
    cross = np.linalg.eigvalsh(root @ covariance_b @ root)
    traces = np.trace(covariance_a) + np.trace(covariance_b)
    distance = np.sum((mean_a - mean_b) ** 2) + traces - 2 * np.sqrt(np.maximum(cross, 0)).sum()
    return max(0.0, float(distance))  # for equal moments, rounding may make it negative


def kernel_distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Compute the unbiased squared maximum mean discrepancy of two feature sets.

    Features are (N, D) and (M, D); the kernel is the cubic one of Binkowski et al. 2018 (KID),
    (x.y / D + 1)^3. Unbiased means that the expectation does not depend on N and M; for equal
    distributions values vary around 0.
    """
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    return float(_mean_of_pairs(ours) + _mean_of_pairs(theirs) - 2 * _kernel(ours, theirs).mean())


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _mean_of_pairs(a: np.ndarray) -> float:
    """Return the mean kernel over pairs of different rows."""
    values = _kernel(a, a)
    return (values.sum() - np.trace(values)) / (len(a) * (len(a) - 1))


def _mean(features: np.ndarray) -> np.ndarray:
    return features.astype(np.float64).mean(axis=0)


def _covariance(features: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(features.astype(np.float64), rowvar=False))


def _root(matrix: np.ndarray) -> np.ndarray:
    """Return the symmetric square root of a covariance matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
