"""Frechet and kernel distance of two sets of features, in closed form."""

import numpy as np


def frechet_distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Compute the Frechet distance of Gaussians fitted to two feature sets.

    Heusel et al. 2017; features (N, D) and (M, D). It is biased upwards where N and M are small:
    compare it only with the distance of as many real clips from as many others.
    """
    return frechet_of_moments(_mean(ours), _covariance(ours), _mean(theirs), _covariance(theirs))


def frechet_of_moments(
    mean_a: np.ndarray, covariance_a: np.ndarray, mean_b: np.ndarray, covariance_b: np.ndarray
) -> float:
    """Compute the Frechet distance of two Gaussians.

    |a - b|^2 + tr(A + B - 2 (A^1/2 B A^1/2)^1/2) of means (D,) and covariances (D, D).
    """
    root = _root(covariance_a)
    cross = np.linalg.eigvalsh(root @ covariance_b @ root)
    traces = np.trace(covariance_a) + np.trace(covariance_b)
    distance = np.sum((mean_a - mean_b) ** 2) + traces - 2 * np.sqrt(np.maximum(cross, 0)).sum()
    return max(0.0, float(distance))  # equal moments may round to just below


def kernel_distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Compute the unbiased squared maximum mean discrepancy of two feature sets.

    Features (N, D) and (M, D); with the cubic kernel (x.y / D + 1)^3 of Binkowski et al. 2018
    (KID). Unbiased means that its expectation does not depend on N and M; equal distributions give
    values on both sides of 0.
    """
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    return float(_mean_of_pairs(ours) + _mean_of_pairs(theirs) - 2 * _kernel(ours, theirs).mean())


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a @ b.T / a.shape[1] + 1) ** 3


def _mean_of_pairs(a: np.ndarray) -> float:
    """Return the mean kernel of two different rows."""
    values = _kernel(a, a)
    return (values.sum() - np.trace(values)) / (len(a) * (len(a) - 1))


def _mean(features: np.ndarray) -> np.ndarray:
    return features.astype(np.float64).mean(axis=0)


def _covariance(features: np.ndarray) -> np.ndarray:
    return np.atleast_2d(np.cov(features.astype(np.float64), rowvar=False))


def _root(matrix: np.ndarray) -> np.ndarray:
    """Return the symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
