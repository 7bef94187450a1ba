"""How gradients are applied: their usual norm, one that explodes, loss scales, first updates."""

import math

import pytest
import torch
from torch import Tensor, nn

from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.gradients import FlatGradients
from t2vgan.errors import UserError
from t2vgan.gan.flat_adam import FlatAdam
from t2vgan.gan.optimizer import NetworkOptimizer
from t2vgan.models import casting
from tests.support.gan_steps import apply_gradients

BETA2 = 0.8
LEARNING_RATE = 0.1
USUAL = (3.0, 4.0, 5.0, 3.5)  # norms


def make_side(*, gradient_clip: float = 4.0, scale: float = 0.0) -> NetworkOptimizer:
    torch.manual_seed(0)
    network = nn.Linear(5, 3, dtype=torch.float64)
    gradients = FlatGradients(network.parameters(), DistributedContext())
    optimizer = FlatAdam(gradients, LEARNING_RATE, (0.0, BETA2))
    scaler = torch.amp.GradScaler("cpu", init_scale=scale or 1.0, enabled=bool(scale))
    return NetworkOptimizer("side", network, gradients, optimizer, scaler, gradient_clip)


def step(side: NetworkOptimizer, norm: float, loss: float = 0.0) -> float:
    """Apply a gradient of this norm, the same direction every time; return the norm it found."""
    generator = torch.Generator().manual_seed(1)
    for parameter in side.network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
    gradients = [parameter.grad for parameter in side.network.parameters()]
    length = torch.nn.utils.get_total_norm(gradients).item()
    for gradient in gradients:
        gradient *= side.grad_scaler.scale(torch.tensor(norm / length))
    return apply_gradients(side, loss)


def weights(side: NetworkOptimizer) -> Tensor:
    return torch.cat([p.detach().flatten().clone() for p in side.network.parameters()])


def running_mean(norms: list[float]) -> float:
    """Return the root of the mean square with weights beta2^age."""
    shares = [BETA2**age for age in reversed(range(len(norms)))]
    squares = [share * norm**2 for share, norm in zip(shares, norms, strict=True)]
    return math.sqrt(sum(squares) / sum(shares))


def test_the_usual_norm_is_a_running_root_mean_square():
    side = make_side()
    for count, norm in enumerate(USUAL, start=1):
        assert step(side, norm) == pytest.approx(norm)
        usual = side.usual_norm(BETA2).item()
        assert usual == pytest.approx(running_mean(list(USUAL[:count])), rel=1e-6)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1024.0])
def test_a_gradient_that_explodes_counts_as_one_of_four_times_the_usual_norm(scale):
    side, twin = make_side(scale=scale), make_side()
    for norm in USUAL:
        step(side, norm)
        step(twin, norm)
    assert step(side, 1e14) == pytest.approx(1e14), "the norm reported is what came"
    step(twin, 4 * running_mean(list(USUAL)))
    torch.testing.assert_close(weights(side), weights(twin), rtol=1e-6, atol=1e-9)
    assert side.usual_norm(BETA2).item() == pytest.approx(twin.usual_norm(BETA2).item())
    assert not torch.stack(side.nonfinite).any()


def test_nothing_smaller_is_touched():
    side, other = make_side(), make_side(gradient_clip=0.0)
    for norm in (*USUAL, 3.9 * running_mean(list(USUAL)), 1e-9, 2.0):
        step(side, norm)
        step(other, norm)
        assert torch.equal(weights(side), weights(other))


def test_without_a_clip_one_explosion_stalls_a_network_for_long():
    moved = {}
    for clip in (0.0, 4.0):
        side = make_side(gradient_clip=clip)
        for norm in (*USUAL, 1e8):
            step(side, norm)
        before = weights(side)
        step(side, 4.0)
        moved[clip] = (weights(side) - before).norm().item()
    assert moved[0.0] < 1e-6 * moved[4.0]


def test_a_first_update_that_was_bad_limits_nothing():
    side, twin = make_side(), make_side()
    before = weights(side)
    assert not math.isfinite(step(side, math.inf))
    assert torch.equal(weights(side), before)
    for norm in (1e6, 3.0):  # the very first ones that are applied, and they fall
        step(side, norm)
        step(twin, norm)
    assert torch.equal(weights(side), weights(twin))
    assert torch.stack(side.nonfinite).tolist() == [True, False, False]


@pytest.mark.parametrize("scale", [0.0, 1024.0])
def test_an_overflow_is_left_out_and_what_follows_is_not(scale):
    side, twin = make_side(scale=scale), make_side()
    for norm in USUAL:
        step(side, norm)
        step(twin, norm)
    assert not math.isfinite(step(side, math.inf))
    torch.testing.assert_close(weights(side), weights(twin), rtol=1e-6, atol=1e-9)
    for norm in (3.0, 1e6):
        step(side, norm)
        step(twin, norm)
    torch.testing.assert_close(weights(side), weights(twin), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.0, 1024.0])
def test_an_overflow_counts_unless_only_the_scale_may_have_caused_it(scale):
    side = make_side(scale=scale)
    step(side, math.inf)
    assert torch.stack(side.nonfinite).tolist() == [scale <= 1]
    side = make_side(scale=scale)
    step(side, math.inf, loss=math.nan)
    assert torch.stack(side.nonfinite).tolist() == [True]


def test_what_is_usual_outlives_a_checkpoint_to_the_last_bit():
    side, other = make_side(), make_side()
    for norm in USUAL:
        step(side, norm)
    other.optimizer.load_state_dict(side.optimizer.state_dict())
    assert torch.equal(side.usual_norm(BETA2), other.usual_norm(BETA2))


def test_copies_follow_their_weights_and_give_their_gradients_back():
    side = make_side()
    side.network = casting.Linear(5, 3, dtype=torch.float64)
    side.gradients = FlatGradients(side.network.parameters(), DistributedContext())
    side.copy_weights(torch.float32)
    assert side.copies is None, "the type of the network without autocast"
    side.copy_weights(torch.bfloat16)
    with torch.no_grad():
        side.network.weight.fill_(3.0)
    side.copy_weights(torch.bfloat16)
    weight, bias = side.network.copies
    assert (weight == 3).all()
    for flag in (False, True):
        side.requires_grad_(flag)
        assert {p.requires_grad for p in (*side.network.parameters(), weight, bias)} == {flag}
    side.network.weight.grad = torch.ones(3, 5, dtype=torch.float64)
    weight.grad, bias.grad = torch.full_like(weight, 2), torch.full_like(bias, 4)
    side.add_gradients_of_copies()
    assert (side.network.weight.grad == 3).all()
    assert (side.network.bias.grad == 4).all()
    assert weight.grad is None


def test_a_schedule_sets_the_next_update():
    side = make_side()
    side.set_schedule(learning_rate=0.25, betas=(0.1, 0.7))
    (group,) = side.optimizer.param_groups
    assert (group["lr"], group["betas"]) == (0.25, (0.1, 0.7))


@pytest.mark.parametrize("change", [{"scale": 0.0}, {"unknown": 1.0}])
def test_a_state_of_no_gradient_scaler_is_refused(change):
    side = make_side(scale=8.0)
    state = side.grad_scaler.state_dict() | {"scale": 2.0}
    with pytest.raises(UserError, match=r"loss_scales\.side of the checkpoint"):
        side.load_loss_scale(state | change)
    side.load_loss_scale({})  # of a run in another precision
    assert side.grad_scaler.get_scale() == 8.0
    side.load_loss_scale(state)
    assert side.grad_scaler.get_scale() == 2.0
