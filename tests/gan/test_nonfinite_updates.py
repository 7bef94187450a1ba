"""An update with numbers gone bad is not applied."""

import math

import pytest
import torch
from torch import Tensor

from t2vgan.config import TrainConfig
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.gan.batch import StepInputs
from t2vgan.gan.step_graph import Step
from tests.support.gan_steps import (
    MODEL,
    SIZES,
    B,
    K,
    R,
    apply_gradients,
    changed,
    cut,
    make_batch,
    make_gan,
    to_single,
    weights,
)


def spoil(gan: AdversarialTraining, side: str, spoiled: float, monkeypatch) -> None:
    """Add a number to one side's loss whose gradient is 0."""
    name = f"{side}_loss"
    spoiled_loss = changed(getattr(gan.losses, name), lambda values: values + spoiled)
    monkeypatch.setattr(gan.losses, name, spoiled_loss)


def optimizer_state(side) -> list[Tensor]:
    state = side.optimizer.state.values()
    return [value.clone() for values in state for value in values.values()]


@pytest.mark.parametrize("spoiled", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("side", "other"), [("generator", "discriminator"), ("discriminator", "generator")]
)
def test_a_loss_that_is_not_finite_is_not_applied_even_with_finite_gradients(
    side, other, spoiled, processes, monkeypatch
):
    gan, twin = make_gan(processes), make_gan(processes)
    for both in (gan, twin):
        both.train_step(StepInputs.of([make_batch(1)]), 1)
        both.gather_nonfinite()
    before, state = weights(gan.networks[side]), optimizer_state(gan.optimizers[side])
    other_before = weights(gan.networks[other])
    with monkeypatch.context() as patch:
        spoil(gan, side, spoiled, patch)
        gan.train_step(StepInputs.of(cut(make_batch(2), 4)), 2)
    assert torch.equal(weights(gan.networks[side]), before)
    assert all(map(torch.equal, optimizer_state(gan.optimizers[side]), state))
    assert not torch.equal(weights(gan.networks[other]), other_before)
    assert gan.gather_nonfinite() == {side: [True], other: [False]}
    gan.train_step(StepInputs.of([make_batch(3)]), 3)
    assert not torch.equal(weights(gan.networks[side]), before)
    assert gan.gather_nonfinite() == {side: [False], other: [False]}


def test_a_gradient_that_is_not_finite_is_not_applied(processes):
    gan = make_gan(processes)
    parameters = list(gan.generator.network.parameters())
    before = weights(gan.generator.network)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    parameters[-1].grad.view(-1)[-1] = torch.inf
    apply_gradients(gan.generator)
    assert torch.equal(weights(gan.generator.network), before)
    assert gan.gather_nonfinite() == {"generator": [True], "discriminator": []}


def test_an_update_is_bad_where_it_was_on_any_rank(processes, monkeypatch):
    monkeypatch.setattr(processes, "mean", lambda flags: flags / 2)  # another rank's are all good
    gan = make_gan(processes)
    gan.generator.nonfinite = [torch.tensor(True), torch.tensor(False)]
    assert gan.gather_nonfinite()["generator"] == [True, False]


def make_float16_gan(processes) -> AdversarialTraining:
    train = TrainConfig(
        frames_per_clip=K, global_batch_size=B, precision="fp16", recovered_latents=R
    )
    return AdversarialTraining(MODEL, train, processes, **SIZES)


def test_only_float16_scales_its_losses(processes):
    assert not any(make_gan(processes, precision="bf16").loss_scales.values())
    assert all(make_float16_gan(processes).loss_scales.values())


@pytest.mark.parametrize(("scale", "is_bad"), [(2.0**16, False), (2.0, False), (1.0, True)])
def test_in_float16_an_overflow_is_bad_only_where_nothing_is_scaled_up(scale, is_bad, processes):
    """Every 2000 steps the scaler raises its scale, on purpose until it overflows."""
    side = (gan := make_float16_gan(processes)).generator
    side.grad_scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    before = weights(side.network)
    for parameter in side.network.parameters():
        parameter.grad = torch.full_like(parameter, torch.inf)
    apply_gradients(side)
    assert torch.equal(weights(side.network), before)
    assert side.grad_scaler.get_scale() == scale / 2
    assert gan.gather_nonfinite()["generator"] == [is_bad]


def test_in_float16_an_overflow_of_one_network_leaves_the_others_scale_alone(processes):
    gan, batch = make_float16_gan(processes), make_batch()
    batch = cut(to_single(batch), B // 2)
    parts = Step(StepInputs.of(batch), gan.schedule(1))
    before = weights(gan.discriminator.network)
    scale = gan.generator.grad_scaler.get_scale()
    factors = iter((float("inf"), 1.0))  # of both micro-batches
    overflow = changed(gan.losses.discriminator_loss, lambda values: values * next(factors))
    gan.update(gan.discriminator, overflow, batch, parts)
    assert gan.discriminator.grad_scaler.get_scale() == scale / 2
    assert gan.generator.grad_scaler.get_scale() == scale
    assert torch.equal(weights(gan.discriminator.network), before)
    assert gan.gather_nonfinite()["discriminator"] == [True]
    gan.update(gan.discriminator, gan.losses.discriminator_loss, batch, parts)
    assert not torch.equal(weights(gan.discriminator.network), before)
    assert gan.gather_nonfinite()["discriminator"] == [False]


@pytest.mark.parametrize("scale", [2.0**12, 2.0**40])
def test_in_float16_overflows_are_left_out_of_the_logged_norms(scale, processes):
    gan = make_float16_gan(processes)
    gan.generator.grad_scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    gan.train_step(StepInputs.of([to_single(make_batch())]), 1)
    gan.generator.grad_scaler.update(2.0**12)
    gan.train_step(StepInputs.of([to_single(make_batch())]), 2)
    metrics = gan.metrics.reduce()
    assert all(math.isfinite(value) for value in metrics.values()), metrics
    assert min(metrics[f"gradient_norm/{name}"] for name in ("generator", "video")) > 0
