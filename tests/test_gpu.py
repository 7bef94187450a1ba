"""What only a GPU can show: mixed precision, equality with the CPU, and steps without a sync."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from t2vgan.config import ClipGanConfig, TrainConfig
from t2vgan.config.presets import PRESETS
from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.device import choose_precision
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.gan.batch import MicroBatch, StepInputs
from t2vgan.gan.step_graph import CudaCapture, Step, StepGraphs
from t2vgan.pipeline import TextToVideo
from t2vgan.pipeline.export import trace
from t2vgan.training.cost.step_cost import StepSizes, build_batch, build_training
from tests.support.gan_steps import changed

pytestmark = pytest.mark.gpu

B, K, H, W, VOCABULARY = 8, 3, 32, 48, 11
PLAIN = ClipGanConfig(latent_size=5, text_size=8, hidden_size=32, channels=8)
SPRITES = PLAIN.model_copy(
    update={
        "num_sprites": 2, "camera_variation": 0.1, "pixel_channels": 8, "pooled_features": True
    }
)  # fmt: skip
BOTH = pytest.mark.parametrize("model", [PLAIN, SPRITES], ids=["plain", "sprites"])


def make_gan(
    processes: DistributedContext, precision: str, model: ClipGanConfig = PLAIN
) -> AdversarialTraining:
    train = TrainConfig(
        frames_per_clip=K,
        global_batch_size=B,
        penalty_every_steps=2,
        recovered_latents=5,
        mode_seeking_weight=0.1,
        precision=precision,
    )
    return AdversarialTraining(
        model, train, processes, height=H, width=W, vocabulary_size=VOCABULARY
    )


def make_batch(device: torch.device, seed: int = 0) -> MicroBatch:
    generator = torch.Generator().manual_seed(seed)
    token_ids = torch.randint(1, VOCABULARY, (B, 4), generator=generator)
    whole = {
        "real_video": torch.randn(B, 3, K, H, W, generator=generator),
        "token_ids": token_ids,
        "token_mask": token_ids > 0,
        "mismatched_ids": token_ids.roll(1, 0).unsqueeze(1),
        "mismatched_mask": token_ids.roll(1, 0).unsqueeze(1) > 0,
        "times": torch.rand(B, K, generator=generator).sort(1).values,
        "discriminator_latents": torch.randn(B, 5, generator=generator),
        "generator_latents": torch.randn(B, 5, generator=generator),
        "augmentation": torch.zeros(B, 0),
        "penalty_noise": torch.zeros(0),
    }
    return MicroBatch(**{name: value.to(device) for name, value in whole.items()})


@BOTH
@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_steps_with_and_without_penalty_stay_finite_and_move_both_networks(precision, model):
    processes = DistributedContext()
    gan = make_gan(processes, precision, model)
    before = [p.detach().clone() for side in gan.networks.values() for p in side.parameters()]
    for step in range(6):
        gan.train_step(StepInputs.of([make_batch(processes.device, step)]), step)
    after = [p.detach() for side in gan.networks.values() for p in side.parameters()]
    assert all(torch.isfinite(p).all() for p in after)
    assert sum(not torch.equal(a, b) for a, b in zip(after, before, strict=True)) > len(after) / 2
    assert all(torch.isfinite(torch.tensor(value)) for value in gan.metrics.reduce().values())


@BOTH
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_graphs_repeat_the_bits_of_the_step(precision, model):
    """With other latents, weights of the losses and learning rates in each of ten steps."""
    processes = DistributedContext()
    plain, graphed = make_gan(processes, precision, model), make_gan(processes, precision, model)
    graphed.graphs = StepGraphs(processes.device, CudaCapture(), required=True)
    for gan in (plain, graphed):
        gan.set_lengths([(0, 12)])
        for step in range(10):
            gan.train_step(StepInputs.of([make_batch(processes.device, step)]), step)
    assert len(graphed.graphs.steps) == 2, "with and without penalty"
    for name, network in plain.networks.items():
        others = graphed.networks[name].state_dict()
        different = [k for k, v in network.state_dict().items() if not torch.equal(v, others[k])]
        assert not different, name
    assert graphed.metrics.reduce() == plain.metrics.reduce()
    assert graphed.gather_nonfinite() == plain.gather_nonfinite()


def test_an_overflow_of_one_network_leaves_the_others_scale_alone():
    processes = DistributedContext()
    gan = make_gan(processes, "fp16")
    gan.train_step(StepInputs.of([make_batch(processes.device)]), 1)
    scales = {name: side.grad_scaler.get_scale() for name, side in gan.optimizers.items()}
    overflow = changed(gan.losses.discriminator_loss, lambda values: values * float("inf"))
    parts = Step(StepInputs.of([make_batch(processes.device)]), gan.schedule(1))
    gan.update(gan.discriminator, overflow, parts.inputs.micro_batches(), parts)
    assert gan.discriminator.grad_scaler.get_scale() < scales["discriminator"]
    assert gan.generator.grad_scaler.get_scale() == scales["generator"]


@BOTH
def test_float32_equals_the_cpu(model):
    processes = DistributedContext()
    gan = make_gan(processes, "no", model)
    batch = make_batch(torch.device("cpu"))
    with torch.no_grad():
        on_gpu = gan.ema.model(
            batch.generator_latents.to(processes.device),
            *(part.to(processes.device) for part in batch.conditions),
        )
        on_cpu = gan.ema.model.cpu()(batch.generator_latents, *batch.conditions)
    torch.testing.assert_close(on_gpu.cpu(), on_cpu, atol=1e-4, rtol=1e-4)


def test_auto_is_bfloat16_where_the_gpu_computes_it():
    expected = (
        torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    )
    assert choose_precision("auto", torch.device("cuda")) == expected


@contextmanager
def no_sync() -> Iterator[None]:
    """Let whatever waits for the GPU raise."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("preset", ["quickstart", "shapes", "shapes-two", "video", "notebook"])
def test_a_step_never_waits_for_the_gpu(preset):
    config = PRESETS[preset]
    sizes = StepSizes(num_clips=8, height=64, width=64, vocabulary_size=30, num_tokens=6)
    gan = build_training(config.model, config.train, sizes, torch.device("cuda"))
    every = config.train.penalty_every_steps or 1
    steps = [0, 1, 2, every]  # those from 2 on are watched: the first ones make Adam's state
    batches = {step: [build_batch(gan, sizes, step)] for step in steps}
    for step in steps[:2]:
        gan.train_step(StepInputs.of(batches[step]), step)
    with no_sync():
        for step in steps[2:]:
            gan.train_step(StepInputs.of(batches[step]), step)
    gan.metrics.reduce()


def test_what_waits_for_the_gpu_is_found():
    value = torch.ones(2, device="cuda")
    with no_sync(), pytest.raises(RuntimeError, match="synchroniz"):
        value[0].item()
    with no_sync(), pytest.raises(RuntimeError, match="synchroniz"):
        value[value > 0]


def test_a_generator_on_a_gpu_is_exported_as_one_on_the_cpu():
    pipeline = TextToVideo.from_pretrained("circles", device="cuda")
    tensors = trace(pipeline).program.state_dict.values()
    assert {tensor.device.type for tensor in tensors} == {"cpu"}
    assert pipeline.device.type == "cuda"


@BOTH
def test_a_step_has_the_same_bits_each_time(model):
    processes = DistributedContext()
    batch = make_batch(processes.device)
    found = []
    for _ in range(2):
        gan = make_gan(processes, "auto", model)
        for step in range(3):
            gan.train_step(StepInputs.of([batch]), step)
        found.append([parameter.clone() for parameter in gan.ema.model.parameters()])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
