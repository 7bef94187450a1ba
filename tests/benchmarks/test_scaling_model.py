"""The arithmetic of many GPUs."""

import pytest

from benchmarks.scaling_model import Network, efficiency, ring_seconds, step_seconds

WIRE = Network(bytes_per_second=1e9, latency_seconds=1e-3)


def test_a_ring_by_hand():
    """Four ranks, a gigabyte: six messages of a quarter each."""
    assert ring_seconds(1e9, 4, WIRE) == pytest.approx(6 * (0.25 + 1e-3))
    assert ring_seconds(0, 2, WIRE) == pytest.approx(2e-3)


def test_large_rings_cost_twice_the_tensor_and_their_latency():
    no_latency = Network(1e9, 0.0)
    assert ring_seconds(1e9, 512, no_latency) == pytest.approx(2, rel=0.01)
    assert ring_seconds(1.0, 512, WIRE) == pytest.approx(1022e-3, rel=1e-3)


def test_a_step_sums_both_networks_and_one_rank_sums_nothing():
    sizes = {"generator": 3e5, "discriminator": 5e5}
    expected = ring_seconds(3e5, 8, WIRE) + ring_seconds(5e5, 8, WIRE)
    assert step_seconds(sizes, 8, WIRE) == pytest.approx(expected)
    assert step_seconds(sizes, 1, WIRE) == 0


def test_sums_that_begin_after_the_computation_add_to_it():
    assert efficiency(0.03, 0.01) == pytest.approx(0.75)
    assert efficiency(0.01, 0.03) == pytest.approx(0.25)
    assert efficiency(0.01, 0.0) == 1
