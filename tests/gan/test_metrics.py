"""Notes: means over steps, across a save and across ranks."""

import pytest
import torch

from t2vgan.distributed.context import DistributedContext
from t2vgan.gan.metrics import MetricAccumulator


@pytest.fixture(scope="module")
def processes() -> DistributedContext:
    return DistributedContext(num_cpu_threads=1)


def test_they_are_means_over_steps_of_what_was_noted(processes):
    notes = MetricAccumulator(processes)
    notes.add("x", torch.tensor([1.0, 3.0]))
    notes.add("x", torch.tensor([6.0, 6.0]))
    notes.add("y", torch.tensor(5.0))
    assert notes.read() == {"x": pytest.approx(4.0), "y": 5.0}
    notes.add("x", torch.tensor(7.0))
    assert notes.read() == {"x": 7.0}


def test_they_survive_a_save_between_two_readings(processes):
    notes, resumed = MetricAccumulator(processes), MetricAccumulator(processes)
    for value in (0.1, 0.2, 0.7):
        notes.add("x", torch.tensor([value]))
    resumed.restore(notes.unread())
    for both in (notes, resumed):
        both.add("x", torch.tensor([0.3]))
    assert resumed.read() == notes.read()


def test_totals_of_another_number_of_ranks_count_alike(processes):
    notes = MetricAccumulator(processes)
    notes.restore({"x": [[1.0, 2.0], [3.0, 2.0]]})
    assert notes.read() == {"x": 1.0}
