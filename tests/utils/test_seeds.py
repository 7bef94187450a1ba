"""Derived randomness: named draws that never change."""

import numpy as np

from t2vgan.utils.seeds import derive_seed, permutation, random_generator


def test_draws_never_change():
    """Another value here means that no older run resumes exactly."""
    assert derive_seed(0, "latents", 7) == 0x1B87BB34AA7360A3
    assert permutation(6, 0, "shards", 0).tolist() == [0, 4, 1, 2, 3, 5]


def test_every_part_counts_and_types_are_distinguished():
    names = [
        (0, "a", 1),
        (0, "a", 2),
        (1, "a", 1),
        (0, "b", 1),
        (0, "a", "1"),
        (0, "a"),
        ("0", "a", 1),
    ]
    assert len({derive_seed(*name) for name in names}) == len(names)
    assert all(0 <= derive_seed(*name) < 2**63 for name in names)


def test_permutation_is_one_and_depends_on_its_name():
    first = permutation(50, 3, "shards", 0)
    assert sorted(first.tolist()) == list(range(50))
    assert (first == permutation(50, 3, "shards", 0)).all()
    assert (first != permutation(50, 3, "shards", 1)).any()


def test_generators_of_different_draws_are_independent():
    a = random_generator(0, "frames", 0).standard_normal(20_000)
    b = random_generator(0, "frames", 1).standard_normal(20_000)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.03
