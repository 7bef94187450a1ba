"""Gradients side by side in one buffer; over real ranks in tests/system/test_kills.py."""

from unittest import mock

import pytest
import torch
from torch import Tensor, nn

from t2vgan.distributed.gradients import ALIGNMENT, ROW, FlatGradients


class TwoRanks:
    """Stands for two processes, of which the other has gradients of zero."""

    def __init__(self, world_size: int = 2) -> None:
        self.is_distributed = world_size > 1
        self.sums: list[Tensor] = []

    def average_(self, values: Tensor) -> None:
        self.sums.append(values)
        values /= 2


def make_network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 2, 1), nn.Linear(7, 7, bias=False))
    return network.to(memory_format=torch.channels_last)


def fill(network: nn.Module) -> list[Tensor]:
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    return [parameter.grad for parameter in network.parameters()]


def test_gradients_become_means_with_the_shape_and_strides_of_their_parameters():
    network, ranks = make_network(), TwoRanks()
    gradients = FlatGradients(network.parameters(), ranks)
    expected = fill(network)
    gradients.collect()
    gradients.average()
    for parameter, before in zip(network.parameters(), expected, strict=True):
        assert torch.equal(parameter.grad, before / 2)
        assert parameter.grad.stride() == parameter.stride()
    (buffer,) = ranks.sums
    assert buffer.is_contiguous()
    assert buffer.abs().sum() == pytest.approx(sum(g.abs().sum().item() / 2 for g in expected))


def test_every_gradient_is_in_the_same_buffer_each_time():
    network, ranks = make_network(), TwoRanks()
    gradients = FlatGradients(network.parameters(), ranks)
    for _ in range(2):
        fill(network)
        gradients.collect()
        gradients.average()
    first, second = ranks.sums
    assert first.data_ptr() == second.data_ptr()
    assert second.numel() == ROW, "no larger than the alignment needs"
    for parameter in network.parameters():
        offset = parameter.grad.data_ptr() - second.data_ptr()
        assert 0 <= offset < second.nbytes
        assert offset % (ALIGNMENT * second.element_size()) == 0


def test_a_parameter_without_a_gradient_counts_as_zeros():
    network, ranks = make_network(), TwoRanks()
    gradients = FlatGradients(network.parameters(), ranks)
    fill(network)
    gradients.collect()
    gradients.average()
    *others, last = network.parameters()
    before = fill(network)
    last.grad = None
    gradients.collect()
    gradients.average()
    assert torch.equal(last.grad, torch.zeros_like(last))
    assert all(torch.equal(p.grad, g / 2) for p, g in zip(others, before, strict=False))


def test_one_process_keeps_its_gradients_as_they_are():
    network, ranks = make_network(), TwoRanks(world_size=1)
    gradients = FlatGradients(network.parameters(), ranks)
    before = fill(network)
    gradients.collect()
    gradients.average()
    assert all(torch.equal(p.grad, g) for p, g in zip(network.parameters(), before, strict=True))
    assert not ranks.sums


def test_dimensions_of_size_one_may_have_any_stride():
    """As the gradient of a 1x1 convolution: it would cost a GPU a kernel for every tensor."""
    parameter = nn.Parameter(torch.zeros(6, 4, 1, 1).to(memory_format=torch.channels_last))
    gradients = FlatGradients([parameter], TwoRanks(world_size=1))
    (view,) = gradients.views.values()
    gradient = torch.randn(6, 4).as_strided((6, 4, 1, 1), (4, 1, 1, 1))
    assert gradient.stride() != view.stride()
    calls = []
    with mock.patch.object(torch, "_foreach_copy_", lambda *args: calls.append(args)):
        gradients.add({parameter: gradient})
    ((targets, sources),) = calls
    assert [t.stride() for t in targets] == [s.stride() for s in sources]
    gradients.add({parameter: gradient})
    parameter.grad = gradient
    gradients.collect()
    assert torch.equal(view, gradient)
