"""The link between ranks is measured on each rank's own device."""

import torch

from t2vgan.training.cost.step_cost import LocalContext
from t2vgan.training.preflight import link


def test_a_sum_comes_before_the_first_barrier(monkeypatch):
    """NCCL's barrier takes the device of earlier sums; without one it guesses by the rank."""
    calls = []
    for name in ("all_reduce", "barrier"):
        monkeypatch.setattr(link.dist, name, lambda *_, name=name: calls.append(name), raising=True)
    monkeypatch.setattr(link.dist, "get_backend", lambda: "nccl")
    assert link.measure_link(LocalContext(torch.device("cpu"))).backend == "nccl"
    assert calls[0] == "all_reduce"
    assert "barrier" in calls
