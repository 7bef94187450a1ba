"""The peak of tensors made, kept by autograd, and freed."""

import torch

from t2vgan.training.cost.peak_memory import PeakMemory, count_bytes

KB = 1024


def make(num_kilobytes: int, **options) -> torch.Tensor:
    return torch.zeros(num_kilobytes * KB // 4, **options)


def test_freed_tensors_stop_counting_and_views_never_start():
    with PeakMemory() as memory:
        a = make(4)
        b = a[:5].view(5, 1)
        assert memory.live == 4 * KB
        del a
        assert memory.live == 4 * KB, "the view holds it"
        del b
        assert memory.live == 0
        make(6)
    assert memory.peak == 6 * KB


def test_results_in_place_of_inputs_cost_nothing():
    a = make(4)
    with PeakMemory() as memory:
        a.add_(1)
        a.mul_(2)
    assert memory.peak == 0


def test_what_autograd_saves_counts_until_the_backward_pass():
    x = make(4, requires_grad=True)
    with PeakMemory() as memory:
        y = x.exp().sin().sum()  # saves the results of exp and of sin's input: one tensor
        assert 4 * KB <= memory.live < 5 * KB
        y.backward()
        del y
        assert memory.live == 4 * KB, "the gradient"
    assert memory.peak >= 12 * KB


def test_shared_storage_counts_once():
    a = make(4)
    assert count_bytes([a, {"half": a[: KB // 2]}, make(2)]) == 6 * KB
