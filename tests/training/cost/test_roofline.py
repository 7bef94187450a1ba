"""Estimated times by hand."""

from collections import Counter

import pytest
import torch

from t2vgan.training.cost.roofline import Device, estimate_mean_time, estimate_time
from t2vgan.training.cost.step_cost import StepCost

DEVICE = Device(
    float32_tflops=10,
    half_tflops=100,
    terabytes_per_second=2,
    memory_gb=80,
    launch_seconds=1e-5,
)


def make_cost(launches=0, single=0, half=0, bytes_moved=0):
    flops = Counter({torch.float32: single, torch.bfloat16: half})
    return StepCost(Counter(), launches, flops, bytes_moved, peak_bytes=0)


@pytest.mark.parametrize(
    ("cost", "seconds", "bound"),
    [
        (make_cost(launches=1000), 1e-2, "launches"),
        (make_cost(launches=10, single=10**11, half=10**12), 2e-2, "arithmetic"),
        (make_cost(launches=10, bytes_moved=10**11), 5e-2, "memory"),
    ],
)
def test_a_step_takes_as_long_as_the_slowest_of_three(cost, seconds, bound):
    estimate = estimate_time(cost, DEVICE)
    assert estimate.seconds == pytest.approx(seconds)
    assert estimate.bound == bound


def test_the_mean_is_over_steps_with_and_without_the_penalty():
    costs = {"plain": make_cost(launches=1000), "penalised": make_cost(bytes_moved=10**11)}
    estimate = estimate_mean_time(costs, DEVICE, penalty_every_steps=4)
    assert estimate.seconds == pytest.approx(3 / 4 * 1e-2 + 1 / 4 * 5e-2)
    assert estimate.bound == "launches"
    only = {"penalised": costs["penalised"]}
    assert estimate_mean_time(only, DEVICE, penalty_every_steps=1).seconds == pytest.approx(5e-2)
    only = {"plain": costs["plain"]}
    assert estimate_mean_time(only, DEVICE, penalty_every_steps=0).seconds == pytest.approx(1e-2)


def test_micro_batches_multiply_all_but_memory():
    cost = StepCost(Counter(a=2), 3, Counter({torch.float32: 5}), bytes_moved=7, peak_bytes=11)
    repeated = cost.repeat(4)
    assert repeated == StepCost(
        Counter(a=8), 12, Counter({torch.float32: 20}), bytes_moved=28, peak_bytes=11
    )
