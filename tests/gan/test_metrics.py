"""Logged metrics: means over steps, across a save and across ranks."""

from types import SimpleNamespace

import pytest
import torch

from t2vgan.gan.metrics import MetricAccumulator


def test_they_are_means_over_steps_of_what_was_added(processes):
    metrics = MetricAccumulator(processes)
    metrics.add("x", torch.tensor([1.0, 3.0]))
    metrics.add("x", torch.tensor([6.0, 6.0]))
    metrics.add("y", torch.tensor(5.0))
    assert metrics.reduce() == {"x": pytest.approx(4.0), "y": 5.0}
    metrics.add("x", torch.tensor(7.0))
    assert metrics.reduce() == {"x": 7.0}


def test_values_that_do_not_count_are_left_out(processes):
    metrics = MetricAccumulator(processes)
    metrics.add("x", torch.tensor([3.0, 0.0, 0.0, 0.0]), torch.tensor([True, False, False, False]))
    metrics.add("none", torch.zeros(2), torch.tensor([False, False]))
    assert metrics.reduce() == {"none": 0.0, "x": 3.0}


def test_they_survive_a_save_between_two_records(processes):
    metrics, resumed = MetricAccumulator(processes), MetricAccumulator(processes)
    for value in (0.1, 0.2, 0.7):
        metrics.add("x", torch.tensor([value]))
    resumed.load_state_dict(metrics.state_dict())
    for both in (metrics, resumed):
        both.add("x", torch.tensor([0.3]))
    assert resumed.reduce() == metrics.reduce()
    assert metrics.state_dict() == {}


def test_totals_of_another_number_of_ranks_count_alike(processes):
    metrics = MetricAccumulator(processes)
    metrics.load_state_dict({"x": [[1.0, 2.0], [3.0, 2.0]]})
    metrics.add("x", torch.tensor([4.0]))  # beside a mean of 2.0 over ranks, of 2 values
    assert metrics.reduce() == {"x": 2.0}


def test_each_rank_goes_on_from_its_own_totals():
    second = SimpleNamespace(rank=1, world_size=2, device=torch.device("cpu"))
    metrics = MetricAccumulator(second)
    metrics.load_state_dict({"x": [[1.0, 2.0], [3.0, 4.0]]})
    assert metrics.totals == {"x": (3.0, 4.0)}
