"""Gradient checkpointing: the same bits, with less memory."""

import pytest
import torch

from t2vgan.config import ClipGanConfig, TrainConfig
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.gan.batch import StepInputs
from t2vgan.gan.networks import needs_gradient_checkpointing
from t2vgan.training.cost.peak_memory import PeakMemory
from t2vgan.training.cost.step_cost import build_batch, build_training
from tests.support.tiny_training import MODELS, PLAIN, SIZES, assert_same_weights


def train_two_steps(model: ClipGanConfig, mode: str, **changes) -> tuple[AdversarialTraining, int]:
    """Train a plain and a penalised step; return the peak of the latter's memory."""
    train = TrainConfig(
        global_batch_size=4,
        frames_per_clip=3,
        penalty_every_steps=2,
        gradient_checkpointing=mode,
        **changes,
    )
    gan = build_training(model, train, SIZES, torch.device("cpu"))
    torch.manual_seed(0)
    for step in (1, 2):
        batch = build_batch(gan, SIZES, step)
        for latents in (batch.discriminator_latents, batch.generator_latents, batch.penalty_noise):
            latents.normal_()
        with PeakMemory() as memory:
            gan.train_step(StepInputs.of([batch]), step)
    return gan, memory.peak


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize(
    "changes",
    [{"penalty": "exact"}, {"penalty": "approximate"}, {"precision": "bf16"}],
    ids=["exact", "approximate", "exact in bf16"],
)
def test_it_changes_no_bit_of_the_weights(model, changes):
    (off, _), (on, _) = (train_two_steps(model, mode, **changes) for mode in ("off", "on"))
    assert_same_weights(off, on)
    initial = build_training(model, off.train, SIZES, torch.device("cpu"))
    assert not torch.equal(
        off.discriminator.network.fine.first.weight, initial.discriminator.network.fine.first.weight
    )


def test_it_saves_memory_but_with_the_exact_penalty():
    def peak(mode, penalty):
        return train_two_steps(PLAIN, mode, penalty=penalty, precision="no")[1]

    assert peak("on", "approximate") < 0.9 * peak("off", "approximate")
    assert peak("on", "exact") > 0.95 * peak("off", "exact"), "less now: change `auto` and docs"


@pytest.mark.parametrize(
    ("changes", "size", "expected"),
    [
        ({}, 256, False),
        ({"penalty": "approximate"}, 128, True),
        ({"penalty": "approximate"}, 64, False),
        ({"penalty_every_steps": 0}, 128, True),
        ({"gradient_checkpointing": "on"}, 32, True),
        ({"gradient_checkpointing": "off", "penalty": "approximate"}, 256, False),
    ],
)
def test_auto_is_on_for_large_frames_without_second_derivatives(changes, size, expected):
    assert needs_gradient_checkpointing(TrainConfig(**changes), size, size) == expected
