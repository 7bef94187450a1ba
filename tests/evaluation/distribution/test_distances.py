"""Check distances against Gaussians whose distances are known in closed form."""

import itertools

import numpy as np
import pytest

from t2vgan.evaluation.distribution.compare import comparable_clips, measure_distance
from t2vgan.evaluation.distribution.distances import (
    frechet_distance,
    frechet_of_moments,
    kernel_distance,
)


def test_frechet_of_gaussians_with_common_axes_is_that_of_each_axis():
    """N(a, s^2) and N(b, t^2): (a - b)^2 + (s - t)^2."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    std_a, std_b = np.array([1.0, 2.0, 0.5]), np.array([3.0, 2.0, 0.0])
    mean_a, mean_b = np.array([0.0, 1.0, 2.0]), np.array([2.0, 1.0, 1.0])
    covariances = [rotation @ np.diag(std**2) @ rotation.T for std in (std_a, std_b)]
    distance = frechet_of_moments(mean_a, covariances[0], mean_b, covariances[1])
    assert distance == pytest.approx(4 + 0 + 1 + (1 - 3) ** 2 + 0 + 0.5**2)


def test_frechet_of_gaussians_with_other_axes():
    """In two dimensions tr((AB)^1/2) is (tr AB + 2 det(AB)^1/2)^1/2."""
    a, b = np.array([[2.0, 0.6], [0.6, 1.0]]), np.array([[1.0, -0.5], [-0.5, 3.0]])
    product = a @ b
    root = np.sqrt(np.trace(product) + 2 * np.sqrt(np.linalg.det(product)))
    zero = np.zeros(2)
    expected = np.trace(a) + np.trace(b) - 2 * root
    assert frechet_of_moments(zero, a, zero, b) == pytest.approx(expected)
    assert frechet_of_moments(zero, b, zero, a) == pytest.approx(expected)


def test_frechet_of_samples_tends_to_that_of_their_gaussians():
    rng = np.random.default_rng(1)
    ours, theirs = rng.normal(0, 1, (40_000, 2)), rng.normal([1, 0], [2, 1], (40_000, 2))
    assert frechet_distance(ours, theirs) == pytest.approx(1 + 1, rel=0.05)
    assert frechet_distance(ours, ours) == pytest.approx(0, abs=1e-9)


def test_kernel_distance_is_unbiased():
    """Its mean over all draws of two values is exactly the distance."""
    ours, theirs = np.array([0.0, 1.0, 3.0]), np.array([1.0, 2.0])

    def mean_kernel(a, b):
        return np.mean([(x * y + 1) ** 3 for x in a for y in b])

    exact = mean_kernel(ours, ours) + mean_kernel(theirs, theirs) - 2 * mean_kernel(ours, theirs)
    draws = [
        kernel_distance(np.array(a)[:, None], np.array(b)[:, None])
        for a in itertools.product(ours, repeat=2)
        for b in itertools.product(theirs, repeat=2)
    ]
    assert np.mean(draws) == pytest.approx(exact)
    assert exact > 0


def test_kernel_distance_of_gaussians():
    """E (xy + 1)^3 follows from moments.

    Those of N(m, s^2) are m, m^2 + s^2, m^3 + 3 m s^2.
    """

    def moments(mean, std):
        return np.array([1, mean, mean**2 + std**2, mean**3 + 3 * mean * std**2])

    def kernel(a, b):
        return a * b @ np.array([1, 3, 3, 1])

    p, q = moments(0, 1), moments(0.5, 1.5)
    exact = kernel(p, p) + kernel(q, q) - 2 * kernel(p, q)
    rng = np.random.default_rng(2)
    measured = [
        kernel_distance(rng.normal(0, 1, (200, 1)), rng.normal(0.5, 1.5, (200, 1)))
        for _ in range(150)
    ]
    error = np.std(measured) / np.sqrt(len(measured))
    assert np.mean(measured) == pytest.approx(exact, abs=4 * error)
    assert error < 0.2 * exact


def test_dimensions_divide_the_kernel():
    """(x.y / D + 1)^3: repeating every feature changes nothing."""
    rng = np.random.default_rng(3)
    ours, theirs = rng.normal(size=(20, 3)), rng.normal(1, 1, (30, 3))
    doubled = kernel_distance(np.tile(ours, 2), np.tile(theirs, 2))
    assert doubled == pytest.approx(kernel_distance(ours, theirs))


def test_the_floor_is_as_biased_as_the_distance():
    """Both compare equally many clips, so a perfect generator meets the floor."""
    rng = np.random.default_rng(4)
    real, perfect, shifted = rng.normal(size=(4000, 8)), rng.normal(size=(9000, 8)), 0.5
    distance = measure_distance(frechet_distance, perfect, real)
    assert distance.num_clips == 2000
    assert distance.floor == pytest.approx(frechet_distance(real[:2000], real[2000:]))
    assert distance.generated == pytest.approx(distance.floor, abs=0.03)
    worse = measure_distance(frechet_distance, perfect + shifted, real)
    assert worse.generated > 20 * worse.floor


def test_too_few_clips_give_no_distance():
    features = np.zeros((40, 8))
    assert measure_distance(frechet_distance, features[:15], features) is None
    assert measure_distance(frechet_distance, features[:16], features[:31]) is None
    assert measure_distance(frechet_distance, features[:16], features[:32]) is not None


def test_a_choice_of_prompts_is_compared_by_one_clip_each():
    prompts, usable = ["b", "a", "b", "a", "c"], np.array([False, True, True, True, True])
    assert comparable_clips(prompts, usable, ["a", "b", "c"]).tolist() == [1, 2, 3, 4]
    assert comparable_clips(prompts, usable, ["a", "b", "c", "d"]).tolist() == [1, 2, 4]
