"""The moving average against its closed form."""

import pytest
import torch
from torch import nn

from t2vgan.distributed.gradients import flatten_parameters
from t2vgan.gan.ema import Ema


def constant(value: float) -> nn.Linear:
    """A float64 layer all of whose parameters are `value`."""
    layer = nn.Linear(3, 2).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.fill_(value)
    return layer


def value_of(ema: Ema) -> float:
    values = torch.cat([parameter.flatten() for parameter in ema.model.parameters()])
    assert torch.all(values == values[0])
    return values[0].item()


@pytest.mark.parametrize("weight", [0.25, torch.tensor(0.25, dtype=torch.float64)])
def test_an_update_is_the_lerp_of_its_definition(weight):
    ema = Ema(constant(-2.0))
    ema.update(constant(6.0), weight)
    assert value_of(ema) == 0.0
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())


def test_a_weight_of_one_is_a_copy():
    ema = Ema(constant(1.0))
    ema.update(constant(4.0), 1.0)
    assert value_of(ema) == 4.0


def test_weights_in_one_buffer_are_averaged_in_one_buffer():
    ema, target = Ema(constant(1.0)), constant(3.0)
    weights = flatten_parameters(list(target.parameters()))
    ema.update(target, 0.5, weights)
    assert value_of(ema) == 2.0
    weights.fill_(4.0)
    ema.update(target, 0.5, weights)
    assert value_of(ema) == 3.0
    assert len({p.untyped_storage().data_ptr() for p in ema.model.parameters()}) == 1


def test_the_copy_stands_alone():
    model = nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.5), nn.BatchNorm1d(3)).train()
    ema = Ema(model)
    assert not any(module.training for module in ema.model.modules())
    assert not any(parameter.requires_grad for parameter in ema.model.parameters())
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    before = ema.model[0].weight.clone()
    with torch.no_grad():
        model[0].weight.add_(1.0)
    assert torch.equal(ema.model[0].weight, before)


def test_buffers_are_copied_not_averaged():
    model = nn.BatchNorm1d(3).train()
    model.register_buffer("table", torch.zeros(2), persistent=False)
    ema = Ema(model)
    model.table.add_(1.0)
    model(torch.randn(16, 3, generator=torch.Generator().manual_seed(0)))
    ema.update(model, 0.1)
    assert torch.equal(ema.model.running_mean, model.running_mean)
    assert ema.model.num_batches_tracked == 1
    assert not ema.model.table.any()  # a constant, which is not saved
    model.running_mean.add_(1.0)
    assert not torch.equal(ema.model.running_mean, model.running_mean)  # a copy, not an alias


def test_tied_parameters_are_averaged_once():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    with torch.no_grad():
        model[0].weight.fill_(0.0)
    ema = Ema(model)
    with torch.no_grad():
        model[0].weight.fill_(1.0)
    ema.update(model, 0.5)
    assert ema.model[1].weight is ema.model[0].weight
    assert torch.allclose(ema.model[0].weight, torch.full((2, 2), 0.5))
