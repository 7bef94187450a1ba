"""Times that waiting for others does not lengthen."""

import time

import pytest
import torch

from t2vgan.distributed.stragglers import ComputeTimer, compare_ranks


def test_the_timer_runs_while_something_is_computed_only():
    timer = ComputeTimer(torch.device("cpu"))
    with timer.measure():
        time.sleep(0.03)
    time.sleep(0.5)  # waiting for another rank
    with timer.measure():
        time.sleep(0.02)
    assert 0.05 <= timer.read() < 0.4
    assert timer.read() == 0


class Ranks:
    """Stands for several processes: each one's reading."""

    def __init__(self, *seconds):
        self.gather_objects = lambda own: list(seconds)


@pytest.mark.parametrize(
    ("seconds", "skew", "slowest"),
    [([2.0], 1.0, 0), ([1.0, 3.0], 3.0, 1), ([2.0, 4.0, 1.0], 2.0, 1), ([0.0, 0.0], 1.0, 0)],
)
def test_the_slowest_rank_against_the_median(seconds, skew, slowest):
    assert compare_ranks(Ranks(*seconds), 0.0) == {"rank_skew": skew, "slowest_rank": slowest}
