"""Adam over one buffer is torch's Adam, parameter by parameter."""

import copy

import pytest
import torch
from torch import Tensor, nn

from t2vgan.distributed.gradients import FlatGradients
from t2vgan.gan.flat_adam import FlatAdam

BETAS = (0.5, 0.9)


def make_network() -> nn.Module:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 2, 1), nn.Linear(7, 7, bias=False))
    return network.double().to(memory_format=torch.channels_last)


class Twins:
    """A network whose weights are in a buffer, and one with torch's Adam."""

    def __init__(self, processes) -> None:
        self.flat, self.plain = make_network(), make_network()
        self.gradients = FlatGradients(self.flat.parameters(), processes)
        self.adam = FlatAdam(self.gradients, 0.1, BETAS)
        self.reference = torch.optim.Adam(self.plain.parameters(), 0.1, betas=BETAS, fused=True)

    def step(self, seed: int, *, is_finite: bool = True) -> None:
        generator = torch.Generator().manual_seed(seed)
        for own, other in self.pairs():
            own.grad = torch.empty_like(own).normal_(generator=generator)
            other.grad = own.grad.clone()
        self.gradients.collect()
        for optimizer in (self.adam, self.reference):
            optimizer.param_groups[0]["lr"] = 0.1 / (1 + seed)
            optimizer.found_inf = torch.tensor(float(not is_finite))
            optimizer.grad_scale = torch.tensor(2.0**seed)
            optimizer.step()

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        return list(zip(self.flat.parameters(), self.plain.parameters(), strict=True))

    def check(self) -> None:
        groups = [adam.state_dict()["param_groups"] for adam in (self.adam, self.reference)]
        assert groups[0] == groups[1]
        for own, other in self.pairs():
            torch.testing.assert_close(own, other, rtol=1e-14, atol=1e-14)
            found, expected = self.adam.state[own], self.reference.state[other]
            assert found.keys() == expected.keys()
            for name, value in expected.items():
                torch.testing.assert_close(found[name], value, rtol=1e-14, atol=1e-14)
                assert found[name].stride() == value.stride()


def test_updates_are_those_of_torchs_adam(processes):
    twins = Twins(processes)
    for seed in range(5):
        twins.step(seed, is_finite=seed not in (0, 3))
    twins.check()
    assert twins.adam.state[twins.flat[0].weight]["step"] == 3


def test_all_weights_are_parts_of_one_buffer(processes):
    twins = Twins(processes)
    twins.step(0)
    weights = twins.adam.weights
    twins.step(1)
    assert twins.adam.weights is weights  # others hold it
    assert not weights.requires_grad
    weights.fill_(2.0)
    assert all((parameter == 2).all() for parameter in twins.flat.parameters())
    assert [p.stride() for p in twins.flat.parameters()] == [
        p.stride() for p in twins.plain.parameters()
    ]


@pytest.mark.parametrize("steps_before", [0, 2])
def test_state_that_was_loaded_is_gone_on_from(processes, steps_before):
    """As a checkpoint is loaded: the state is another object, before or after first updates."""
    source, resumed = Twins(processes), Twins(processes)
    for seed in range(3):
        source.step(seed)
    for seed in range(steps_before):
        resumed.step(10 + seed)
    for network, other in ((resumed.flat, source.flat), (resumed.plain, source.plain)):
        network.load_state_dict(other.state_dict())
    for optimizer, other in (
        (resumed.adam, source.adam),
        (resumed.reference, source.reference),
    ):
        optimizer.load_state_dict(copy.deepcopy(other.state_dict()))
    for seed in (3, 4):
        source.step(seed)
        resumed.step(seed)
        resumed.check()
    for own, other in zip(resumed.flat.parameters(), source.flat.parameters(), strict=True):
        assert torch.equal(own, other)


def test_a_parameter_without_a_gradient_stays_where_it_is(processes):
    twins = Twins(processes)
    frozen = twins.flat[2].weight
    before = frozen.detach().clone()
    for parameter in list(twins.flat.parameters())[:-1]:
        parameter.grad = torch.ones_like(parameter)
    twins.gradients.collect()
    twins.adam.step()
    assert torch.equal(frozen, before)
    assert not torch.equal(twins.flat[0].weight, twins.plain[0].weight)
