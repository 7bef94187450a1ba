"""The penalties: when, how much, and the truth of their gradients."""

import dataclasses

import pytest
import torch
from torch import Tensor

from t2vgan.data.pixel_sums import PixelStatistics
from t2vgan.gan.losses import gradient_penalty
from tests.support.gan_steps import B, H, K, W, make_batch, make_gan, to_single


def test_the_penalty_is_lazy_weighted_and_scheduled(processes):
    gan = make_gan(
        processes,
        penalty_every_steps=4,
        gamma_start=8.0,
        gamma_end=2.0,
        gamma_until=0.5,
        num_steps=100,
    )
    found = []
    for step in range(100):
        found.append(gan.schedule(step).penalty_weight)
    assert [step for step, weight in enumerate(found) if weight] == list(range(0, 100, 4))
    assert found[0] == pytest.approx(4 * 8.0)
    assert found[24] == pytest.approx(4 * 8.0 * (2 / 8) ** (0.24 / 0.5))
    assert found[60] == pytest.approx(4 * 2.0)


def test_the_penalty_adds_gamma_over_two_times_r1_plus_r2(processes):
    gan, batch = make_gan(processes), make_batch()
    schedule = gan.schedule(0)
    plain = gan.losses.discriminator_loss(batch, dataclasses.replace(schedule, penalty_weight=0.0))
    gan.metrics.reduce()
    penalised = gan.losses.discriminator_loss(
        batch, dataclasses.replace(schedule, penalty_weight=6.0)
    )
    r1_plus_r2 = gan.metrics.reduce()["penalty"]
    assert r1_plus_r2 > 0
    added = (penalised.values - plain.values).mean().item()
    share_of_pixels = K * H * W / (4 * 64 * 64)
    assert added == pytest.approx(share_of_pixels * 6.0 / 2 * r1_plus_r2, rel=1e-9)


def test_the_approximate_penalty_and_its_gradient_are_exact_in_the_mean(processes):
    """Over many noises, within 4 standard errors; of every fourth clip, in units of the data."""
    pixels = PixelStatistics((0.5, 0.0, -0.25), 0.25)
    gan = make_gan(processes, pixels=pixels, penalty="approximate")
    network, losses, batch = gan.discriminator.network, gan.losses, make_batch()
    with torch.no_grad():
        fake_video = gan.losses.generate(batch, batch.discriminator_latents)
    clips = torch.cat([batch.real_video[::4], fake_video[::4]])
    conditions = [torch.cat([part[::4], part[::4]]) for part in batch.conditions]
    score = lambda video: network(video, *conditions)  # noqa: E731
    r1, r2 = gradient_penalty(score, clips, losses.pixel_std)[0].chunk(2)
    parameters = list(network.parameters())

    def gradient(penalty: Tensor) -> Tensor:
        parts = torch.autograd.grad(penalty, parameters, allow_unused=True, materialize_grads=True)
        return torch.cat([part.flatten() for part in parts])

    exact = (r1 + r2).mean()
    direction = gradient(exact)
    video = torch.cat([batch.real_video, fake_video])
    found = []
    for _ in range(300):
        noise = torch.randn(B // 4, 2, 3, K, H, W, dtype=torch.float64)
        batch = dataclasses.replace(batch, penalty_noise=noise)
        penalty = losses.discriminate(video, batch, "approximate").penalty
        assert penalty.shape == (B,)
        along = gradient(penalty.mean()) @ direction / direction.square().sum()
        found.append(torch.stack([penalty.mean().detach() / exact.detach(), along]))
    ratios = torch.stack(found)
    errors = (ratios.mean(0) - 1) / (ratios.std(0) / len(ratios) ** 0.5)
    assert (errors.abs() < 4).all(), (ratios.mean(0), errors)
    assert (ratios.std(0) / len(ratios) ** 0.5 < 0.15).all()  # or they would show nothing


def test_the_approximate_penalty_adds_gamma_over_two_times_it(processes):
    gan, batch = make_gan(processes, penalty="approximate"), make_batch(noise=True)
    schedule = gan.schedule(0)
    silent = dataclasses.replace(batch, penalty_noise=torch.zeros(0))
    plain = gan.losses.discriminator_loss(silent, dataclasses.replace(schedule, penalty_weight=0.0))
    gan.metrics.reduce()
    penalised = gan.losses.discriminator_loss(
        batch, dataclasses.replace(schedule, penalty_weight=6.0)
    )
    r1_plus_r2 = gan.metrics.reduce()["penalty"]
    share_of_pixels = K * H * W / (4 * 64 * 64)
    added = (penalised.values - plain.values).mean().item()
    assert added == pytest.approx(share_of_pixels * 6.0 / 2 * r1_plus_r2, rel=1e-9)


def test_with_the_approximate_penalty_the_discriminator_is_in_float32(processes):
    """bfloat16 keeps 8 bits, and finite differences divide by 0.01."""
    gan = make_gan(processes, precision="bf16", penalty="approximate")
    for module in gan.networks.values():
        module.float()
    found = []
    gan.discriminator.network.fine.register_forward_hook(lambda *call: found.append(call[2].dtype))
    for step, dtype in ((0, torch.float32), (1, torch.bfloat16)):
        batch = to_single(make_batch(noise=step == 0))
        gan.losses.discriminator_loss(batch, gan.schedule(step)).values.mean().backward()
        assert found.pop() == dtype


def test_the_penalty_does_not_depend_on_contrast(processes):
    """Darker video of less contrast, standardised, has the penalty of the video as it was."""
    schedule = dataclasses.replace(make_gan(processes).schedule(0), penalty_weight=6.0)
    losses = []
    for mean, std in ((0.0, 1.0), (-0.75, 0.125)):
        gan = make_gan(processes, pixels=PixelStatistics((mean,) * 3, std))
        batch = make_batch()
        batch = dataclasses.replace(batch, real_video=mean + std * batch.real_video)
        losses.append(gan.losses.discriminator_loss(batch, schedule).values.detach())
        losses.append(torch.tensor(gan.metrics.reduce()["penalty"]))
    torch.testing.assert_close(losses[2], losses[0])
    torch.testing.assert_close(losses[3], losses[1])


def test_without_standardizing_gamma_is_that_of_the_video_as_it_is(processes):
    gan, batch = make_gan(processes, standardize=False), make_batch()
    schedule = gan.schedule(0)
    plain = gan.losses.discriminator_loss(batch, dataclasses.replace(schedule, penalty_weight=0.0))
    penalised = gan.losses.discriminator_loss(
        batch, dataclasses.replace(schedule, penalty_weight=6.0)
    )
    added = (penalised.values - plain.values).mean().item()
    assert added == pytest.approx(6.0 / 2 * gan.metrics.reduce()["penalty"], rel=1e-9)


def test_second_derivatives_of_the_penalty_equal_finite_differences(processes):
    """d(R1 + R2) / d(weights): the gradient that trains, against central differences in float64."""
    gan, batch = make_gan(processes), make_batch()
    network = gan.discriminator.network
    video = batch.real_video

    def penalty() -> Tensor:
        return gradient_penalty(lambda clips: network(clips, *batch.conditions), video)[0].mean()

    parameters = list(network.parameters())
    gradients = torch.autograd.grad(penalty(), parameters, allow_unused=True)
    generator = torch.Generator().manual_seed(0)
    num_nonzero = 0
    for parameter, gradient in zip(parameters, gradients, strict=True):
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        step = 1e-5
        with torch.no_grad():
            parameter += step * direction
            above = penalty_value(penalty)
            parameter -= 2 * step * direction
            below = penalty_value(penalty)
            parameter += step * direction
        measured = (above - below) / (2 * step)
        expected = 0.0 if gradient is None else (gradient * direction).sum().item()
        num_nonzero += expected != 0
        assert measured == pytest.approx(expected, rel=1e-5, abs=1e-11)
    assert num_nonzero > len(parameters) / 2


def penalty_value(penalty) -> float:
    with torch.enable_grad():
        return penalty().item()
