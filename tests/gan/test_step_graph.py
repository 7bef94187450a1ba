"""A captured step does what the step does: the same bits, whatever changes from step to step."""

import dataclasses
import logging
from unittest import mock

import pytest
import torch
from torch import Tensor

from t2vgan.config.presets import PRESETS
from t2vgan.errors import UserError
from t2vgan.gan import step_graph
from t2vgan.gan.adversarial import AdversarialTraining, Computed
from t2vgan.gan.batch import MicroBatch, StepInputs
from t2vgan.gan.step_graph import CudaCapture, Step, StepGraphs, choose_cuda_graphs
from t2vgan.models.casting import WeightCopies
from tests.support.gan_steps import SPRITES, B, changed, cut, make_batch, make_gan
from tests.support.recorded_ops import RecordedOps

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
NUM_STEPS = 20
NUM_PARTS = 6
"""Micro-batches, gradients and clipping of each network, and the end."""
SCHEDULES = {"num_steps": 24, "lr_hold": 0.1}
"""Every scheduled value moves in these steps."""


def make_preset(processes, name: str, **options) -> AdversarialTraining:
    config = PRESETS[name]
    options = {"global_batch_size": 4, **SCHEDULES, **options}
    train = config.train.model_copy(update=options)
    sizes = {"height": 64, "width": 64, "vocabulary_size": 11}
    return AdversarialTraining(config.model, train, processes, **sizes)


def preset_batch(gan: AdversarialTraining, step: int) -> MicroBatch:
    """Return 4 clips of 64x64, in a step with the approximate penalty with its noise."""
    torch.manual_seed(step)
    shape = (3, gan.train.frames_per_clip, 64, 64)
    token_ids = torch.randint(1, 11, (4, 5))
    mismatched_ids = torch.randint(1, 11, (4, gan.train.num_mismatched_prompts, 5))
    latents = torch.randn(4, *gan.latent_shape)
    has_noise = gan.train.penalty == "approximate" and gan.schedule(step).is_penalised
    return MicroBatch(
        real_video=torch.randn(4, *shape).clamp(-1, 1),
        token_ids=token_ids,
        token_mask=token_ids > 0,
        mismatched_ids=mismatched_ids,
        mismatched_mask=mismatched_ids > 0,
        times=torch.rand(4, gan.train.frames_per_clip).sort(1).values,
        discriminator_latents=latents,
        generator_latents=latents if gan.keeps_fakes else torch.randn(4, *gan.latent_shape),
        augmentation=torch.zeros(4, 0),
        penalty_noise=torch.randn(1, 2, *shape) if has_noise else torch.zeros(0),
    )


def recorded(gan: AdversarialTraining) -> RecordedOps:
    """Let a gan record its steps and repeat them; anything else is an error."""
    capture = RecordedOps()
    gan.graphs = StepGraphs(CPU, capture, required=True)
    return capture


def state_of(gan: AdversarialTraining) -> dict[str, Tensor]:
    """Return all tensors that training changes."""
    found = {}
    for name, network in gan.networks.items():
        found |= {f"{name}/{key}": value for key, value in network.state_dict().items()}
    for name, side in gan.optimizers.items():
        for index, state in enumerate(side.optimizer.state.values()):
            found |= {f"{name} optimizer/{index}/{key}": value for key, value in state.items()}
    return found


def different(gan: AdversarialTraining, other: AdversarialTraining) -> list[str]:
    state, others = state_of(gan), state_of(other)
    assert state.keys() == others.keys()
    return [name for name, value in state.items() if not torch.equal(value, others[name])]


@pytest.mark.parametrize(
    ("preset", "options", "num_kinds"),
    [
        ("quickstart", {"penalty_every_steps": 4}, 2),
        ("quickstart", {"penalty_every_steps": 4, "mode_seeking_weight": 0.1}, 2),
        ("quickstart", {"penalty_every_steps": 4, "penalty": "approximate"}, 2),
        ("notebook", {}, 1),
    ],
)
def test_a_recorded_step_repeats_the_bits_of_the_step(preset, options, num_kinds, processes):
    """One recording of each part of a kind: twenty steps, whatever their numbers on the host."""
    plain, graphed = (make_preset(processes, preset, **options) for _ in range(2))
    capture = recorded(graphed)
    for step in range(NUM_STEPS):
        batch = preset_batch(plain, step)
        plain.train_step(StepInputs.of([batch]), step)
        graphed.train_step(StepInputs.of([batch]), step)
        assert not different(plain, graphed), f"step {step}"
    assert capture.num_recordings == NUM_PARTS * num_kinds
    assert capture.num_replays + 3 * capture.num_recordings == NUM_PARTS * NUM_STEPS
    assert plain.gather_nonfinite() == graphed.gather_nonfinite()
    assert graphed.metrics.reduce() == plain.metrics.reduce()


def test_every_layout_of_micro_batches_has_a_recording(processes):
    plain, graphed = (make_gan(processes, model=SPRITES, **SCHEDULES) for _ in range(2))
    capture = recorded(graphed)
    for step in range(NUM_STEPS):
        parts = cut(make_batch(step), 4 if step % 2 else 2)
        plain.train_step(StepInputs.of(parts), step)
        graphed.train_step(StepInputs.of(parts), step)
    assert not different(plain, graphed)
    assert capture.num_recordings == 3 * NUM_PARTS, "two layouts, one also with the penalty"


def gradients(gan: AdversarialTraining, batch: MicroBatch, **weights: float) -> list[Tensor]:
    """Return the generator's gradients with weights in place of the schedule's."""
    schedule = dataclasses.replace(gan.schedule(1), **weights)
    inputs = StepInputs.of([batch])
    parts = gan.graphs.begin(inputs, schedule) if gan.graphs else Step(inputs, schedule)
    side = gan.generator

    def compute() -> Computed:
        own = parts.inputs.micro_batches()
        return gan.compute_gradients(side, gan.losses.generator_loss, own, parts.schedule)

    parts.run("generator gradients", compute)
    return [parameter.grad.clone() for parameter in side.network.parameters()]


def test_a_replay_reads_the_weights_of_its_own_step(processes):
    plain, graphed = make_gan(processes), make_gan(processes)
    capture = recorded(graphed)
    batch = make_batch()
    logits, other = torch.zeros(B, dtype=torch.float64), torch.zeros_like(batch.real_video)
    batch = dataclasses.replace(batch, real_logits=logits, other_fakes=other)
    for weight in (0.5, 0.5, 0.5, 3.0, 0.0, 7.0):
        found = gradients(graphed, batch, recovery_weight=weight)
        expected = gradients(plain, batch, recovery_weight=weight)
        assert all(map(torch.equal, found, expected)), weight
    assert capture.num_replays == 3


def test_a_number_of_the_host_that_changes_would_be_found(processes):
    """The recorder's own test: what it recorded does not see such a change."""
    plain, graphed = make_gan(processes), make_gan(processes)
    recorded(graphed)
    for step in range(1, 6):
        for gan in (plain, graphed):
            gan.losses.train = gan.train.model_copy(update={"mismatched_weight": float(step)})
            gan.train_step(StepInputs.of([make_batch(step)]), step)
        assert bool(different(plain, graphed)) == (step > 3)


def test_a_wait_for_the_device_would_be_found(processes):
    gan = make_gan(processes)
    recorded(gan)
    gan.losses.generator_loss = changed(
        gan.losses.generator_loss, lambda values: values * values.mean().item()
    )
    for step in (1, 2):
        gan.train_step(StepInputs.of([make_batch(step)]), step)
    with pytest.raises(AssertionError, match="waits for the device"):
        gan.train_step(StepInputs.of([make_batch(3)]), 3)


def test_a_replay_that_is_not_finite_is_not_applied_and_found(processes):
    plain, graphed = make_gan(processes), make_gan(processes)
    recorded(graphed)
    for step in range(1, 7):
        batch = make_batch(step)
        if step == 5:
            batch.real_video[0, 0, 0, 0, 0] = torch.nan
        for gan in (plain, graphed):
            gan.train_step(StepInputs.of([batch]), step)
    assert not different(plain, graphed)
    found = graphed.gather_nonfinite()
    assert found["discriminator"] == [False] * 4 + [True, False]
    assert found == plain.gather_nonfinite()


class Broken(RecordedOps):
    """A device on which nothing can be captured."""

    def __call__(self, function):
        function()
        try:
            {}["of a cache"]
        except KeyError:
            try:
                raise RuntimeError("operation not permitted when stream is capturing\nand more")
            finally:
                raise RuntimeError("a previous error")


class BrokenBackward(RecordedOps):
    """A device on which no backward pass can be captured: what it leaves behind is wrong."""

    def __call__(self, function):
        def pop_gradients(copies: WeightCopies) -> None:
            for copy in copies.copies:
                copy.grad = torch.full_like(copy, 1e6)
            raise RuntimeError("not to be captured")

        with mock.patch.object(WeightCopies, "pop_gradients", pop_gradients):
            return super().__call__(function)


def test_what_a_failed_capture_leaves_behind_is_forgotten(processes):
    plain, graphed = (make_preset(processes, "quickstart", precision="bf16") for _ in range(2))
    graphed.graphs = StepGraphs(CPU, BrokenBackward())
    for step in range(1, 6):
        for gan in (plain, graphed):
            gan.train_step(StepInputs.of([preset_batch(gan, step)]), step)
    assert graphed.graphs.has_failed
    assert not different(plain, graphed)
    assert graphed.metrics.reduce() == plain.metrics.reduce()


def test_where_a_step_cannot_be_captured_it_runs_as_it_is(processes, caplog):
    plain, graphed = make_gan(processes), make_gan(processes)
    graphed.graphs = StepGraphs(CPU, Broken())
    with caplog.at_level(logging.WARNING):
        for step in range(1, 6):
            for gan in (plain, graphed):
                gan.train_step(StepInputs.of([make_batch(step)]), step)
    assert caplog.messages == [
        "cuda_graphs: a step cannot be captured (operation not permitted when stream is"
        " capturing); steps run without graphs"
    ]
    assert not different(plain, graphed)


def test_where_graphs_are_required_a_step_that_cannot_be_captured_stops(processes, monkeypatch):
    monkeypatch.setattr(step_graph, "WARM_UP_STEPS", 0)
    gan = make_gan(processes)
    gan.graphs = StepGraphs(CPU, Broken(), required=True)
    with pytest.raises(UserError, match=r"cuda_graphs=on: .* use --cuda-graphs auto"):
        gan.train_step(StepInputs.of([make_batch()]), 0)


def test_a_capture_that_fails_gives_stream_and_pool_back(monkeypatch):
    """`torch.cuda.graph` itself does not: it raises before it leaves its stream and pool."""
    current = ["default"]

    class Stream:
        def __init__(self, stream: str) -> None:
            self.stream = stream

        def __enter__(self) -> None:
            self.before, current[0] = current[0], self.stream

        def __exit__(self, *_: object) -> None:
            current[0] = self.before

    class Graph(Stream):
        def __init__(self, graph: object, *, pool: int, stream: str, capture_error_mode: str):
            super().__init__(stream)

        def __exit__(self, *_: object) -> None:
            raise RuntimeError("operation failed due to a previous error during capture")

    for name, fake in {
        "stream": Stream,
        "graph": Graph,
        "Stream": lambda: "capture",
        "CUDAGraph": object,
        "graph_pool_handle": lambda: 7,
        "current_device": lambda: 0,
    }.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    ended = []
    for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
        monkeypatch.setattr(torch._C, name, lambda *args: ended.append(args), raising=False)
    streams = []
    with pytest.raises(RuntimeError, match="previous error"):
        CudaCapture()(lambda: streams.append(current[0]))
    assert streams == ["capture"]
    assert ended == 2 * [(0, 7)]
    assert current == ["default"]


@pytest.mark.parametrize(
    ("requested", "device", "precision", "expected"),
    [
        ("auto", CUDA, torch.bfloat16, True),
        ("on", CUDA, torch.float32, True),
        ("off", CUDA, torch.float32, False),
        ("auto", CUDA, torch.float16, False),
        ("auto", CPU, torch.float32, False),
        ("off", CPU, torch.float32, False),
    ],
)
def test_graphs_are_for_gpus(requested, device, precision, expected):
    assert choose_cuda_graphs(requested, device, precision) == expected


@pytest.mark.parametrize(
    ("device", "precision", "reason"),
    [
        (CPU, torch.float32, "is for GPUs, but this process runs on the CPU"),
        (CUDA, torch.float16, "does not work with float16"),
    ],
)
def test_graphs_that_cannot_be_are_refused(device, precision, reason):
    with pytest.raises(UserError, match=reason):
        choose_cuda_graphs("on", device, precision)
