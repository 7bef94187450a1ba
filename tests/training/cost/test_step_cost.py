"""Costs counted on fake tensors equal those of real steps."""

import pytest
import torch

from t2vgan.config import ClipGanConfig, TrainConfig
from t2vgan.config.presets import PRESETS
from t2vgan.gan.batch import StepInputs
from t2vgan.training.cost.op_counter import OpCounter
from t2vgan.training.cost.peak_memory import PeakMemory, count_bytes
from t2vgan.training.cost.step_cost import (
    StepSizes,
    build_batch,
    build_training,
    estimate_step_costs,
    list_state,
)

PLAIN = ClipGanConfig(latent_size=8, text_size=16, hidden_size=32, channels=8)
MODELS = {
    "plain": PLAIN,
    "sprites": PLAIN.model_copy(
        update={"num_sprites": 1, "camera_variation": 0.1, "pixel_channels": 8}
    ),
    "scene": PLAIN.model_copy(
        update={"smooth_patches": True, "scene_scale": 2.0, "motion_channels": 4}
    ),
}
SIZES = StepSizes(num_clips=4, height=32, width=48, vocabulary_size=11, num_tokens=5, augments=True)


@pytest.mark.parametrize(("precision", "penalty"), [("no", "exact"), ("bf16", "approximate")])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_fake_steps_cost_what_real_ones_do(model, precision, penalty):
    train = TrainConfig(
        global_batch_size=4,
        frames_per_clip=3,
        penalty=penalty,
        penalty_every_steps=3,
        precision=precision,
    )
    gan = build_training(model, train, SIZES, torch.device("cpu"))
    gan.train_step(StepInputs.of([build_batch(gan, SIZES, 1)]), 1)
    costs = estimate_step_costs(model, train, SIZES, gan.precision)
    assert list(costs) == ["plain", "penalised"]
    for step, cost in zip((1, 3), costs.values(), strict=True):
        batch = build_batch(gan, SIZES, step)
        with OpCounter() as counter, PeakMemory() as memory:
            gan.train_step(StepInputs.of([batch]), step)
        assert cost.ops == counter.ops
        assert cost.flops == counter.flops_by_dtype
        assert cost.bytes_moved == counter.bytes_moved
        state = count_bytes([list_state(gan), batch.tensors])
        assert cost.peak_bytes == state + memory.peak
        assert memory.peak > 2 * count_bytes(batch.real_video)


def test_steps_are_estimated_in_another_precision_than_the_recipes():
    """Without its gradient scaler, which would read values of fake tensors."""
    train = TrainConfig(global_batch_size=4, frames_per_clip=3, precision="fp16")
    costs = estimate_step_costs(PLAIN, train, SIZES, torch.bfloat16)
    same = train.model_copy(update={"precision": "bf16"})
    assert costs == estimate_step_costs(PLAIN, same, SIZES, torch.bfloat16)


def test_steps_of_several_micro_batches_multiply_as_often_as_estimated():
    """Of a model that shares latents: a whole batch's clips are generated once."""
    model, train = PRESETS["notebook"].model, PRESETS["notebook"].train
    sizes = StepSizes(
        num_clips=4, height=64, width=64, vocabulary_size=11, num_tokens=5, augments=False
    )
    gan = build_training(model, train, sizes, torch.device("cpu"))
    gan.train_step(StepInputs.of([build_batch(gan, sizes, 1)]), 1)
    with OpCounter() as counter:
        gan.train_step(StepInputs.of([build_batch(gan, sizes, 1) for _ in range(2)]), 2)
    costs = {
        is_whole: estimate_step_costs(model, train, sizes, gan.precision, is_whole=is_whole)[
            "plain"
        ]
        for is_whole in (True, False)
    }
    assert costs[False].repeat(2).flops == counter.flops_by_dtype
    assert costs[True].repeat(2).flops.total() < counter.flops_by_dtype.total()
    assert costs[True].peak_bytes > costs[False].peak_bytes


def test_more_clips_cost_more_work_but_no_more_operations():
    train = TrainConfig(global_batch_size=8, frames_per_clip=3)
    four = estimate_step_costs(PLAIN, train, SIZES, torch.float32)["plain"]
    sizes = StepSizes(8, *list(vars(SIZES).values())[1:])
    eight = estimate_step_costs(PLAIN, train, sizes, torch.float32)["plain"]
    assert eight.ops == four.ops
    assert 1.5 < eight.flops.total() / four.flops.total() <= 2
    assert 1.2 < eight.peak_bytes / four.peak_bytes < 2


@pytest.mark.parametrize(
    ("every", "kinds"), [(0, ["plain"]), (1, ["penalised"]), (8, ["plain", "penalised"])]
)
def test_steps_with_the_penalty_where_there_are_some(every, kinds):
    train = TrainConfig(global_batch_size=4, frames_per_clip=3, penalty_every_steps=every)
    assert list(estimate_step_costs(PLAIN, train, SIZES, torch.float32)) == kinds
