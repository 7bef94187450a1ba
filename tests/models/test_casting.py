"""Copies of weights for autocast: not a bit differs from what autocast converts by itself."""

import pytest
import torch
from torch import Tensor, nn

from t2vgan.config import ClipGanConfig, TrainConfig
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.gan.batch import MicroBatch, StepInputs
from t2vgan.gan.optimizer import NetworkOptimizer
from t2vgan.models.casting import Conv2d, ConvTranspose2d, Linear, WeightCopies
from t2vgan.training.cost.step_cost import build_batch, build_training
from tests.support.tiny_training import MODELS, SIZES, assert_same_weights


def train(model: ClipGanConfig, num_micro_batches: int, **options) -> AdversarialTraining:
    """Train three steps in bfloat16, the second with the penalty."""
    options = {"global_batch_size": 4, "frames_per_clip": 3, "penalty_every_steps": 2, **options}
    config = TrainConfig(precision="bf16", **options)
    gan = build_training(model, config, SIZES, torch.device("cpu"))
    torch.manual_seed(0)
    size = SIZES.num_clips // num_micro_batches
    for step in (1, 2, 3):
        batch = build_batch(gan, SIZES, step)
        for values in (batch.real_video, batch.discriminator_latents, batch.generator_latents):
            values.normal_()
        gan.train_step(
            StepInputs.of([part(batch, start, size) for start in range(0, 4, size)]), step
        )
    return gan


def part(batch: MicroBatch, start: int, size: int) -> MicroBatch:
    return batch.slice(slice(start, start + size))


@pytest.mark.parametrize(
    ("model", "num_micro_batches"), [("plain", 1), ("plain", 2), ("sprites", 1), ("scene", 1)]
)
def test_a_step_with_copies_has_the_bits_of_autocast(monkeypatch, model, num_micro_batches):
    copied = train(MODELS[model], num_micro_batches)
    assert copied.generator.copies
    assert copied.discriminator.copies
    monkeypatch.setattr(NetworkOptimizer, "copy_weights", lambda self, dtype: None)
    plain = train(MODELS[model], num_micro_batches)
    assert plain.generator.copies is None
    assert_same_weights(copied, plain)


class TwiceUsed(nn.Module):
    """A layer used in float32 and under autocast."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.convolve = Linear(4, 4), Conv2d(2, 2, 1)
        self.spread = ConvTranspose2d(2, 3, 4, stride=2, padding=1)

    def forward(self, values: Tensor) -> Tensor:
        exact = self.linear(values)
        with torch.autocast("cpu", torch.bfloat16):
            rounded = self.linear(exact).view(-1, 2, 2, 1)
            spread = self.spread(self.convolve(rounded))
            return exact.sum() + spread.square().sum()


def gradients_of(network: TwiceUsed, values: Tensor) -> list[Tensor]:
    network(values).backward()
    return [parameter.grad for parameter in network.parameters()]


def test_gradients_of_both_uses_add_up():
    torch.manual_seed(0)
    network, values = TwiceUsed(), torch.randn(5, 4)
    expected = gradients_of(network, values)
    network.zero_grad()
    copies = WeightCopies(network, torch.bfloat16)
    copies.update()
    gradients_of(network, values)
    found = copies.pop_gradients()
    assert len(found) == 6
    for parameter, gradient in zip(network.parameters(), expected, strict=True):
        own = 0 if parameter.grad is None else parameter.grad
        assert torch.equal(own + found[parameter].float(), gradient)
    assert not copies.pop_gradients()


def test_copies_follow_the_weights_and_only_under_autocast():
    network = TwiceUsed()
    copies, values = WeightCopies(network, torch.bfloat16), torch.ones(1, 4)
    with torch.no_grad():
        network.linear.weight.fill_(1 + 2**-12)
        network.linear.bias.zero_()
    copies.update()
    assert network.linear(values)[0, 0] == 4 + 2**-10
    with torch.autocast("cpu", torch.bfloat16):
        assert network.linear(values)[0, 0] == 4
