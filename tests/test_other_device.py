"""The training step on a device that is not the CPU, without one: meta tensors.

A step that reads a value waits for the GPU, and one that makes a tensor on the CPU copies it. Meta
tensors have shapes and types only, so both fail.
"""

import warnings

import pytest
import torch

from t2vgan.config.presets import PRESETS
from t2vgan.gan.batch import StepInputs
from t2vgan.gan.metrics import MetricAccumulator
from t2vgan.gan.optimizer import NetworkOptimizer
from t2vgan.models import motion, resampling
from t2vgan.training.cost.step_cost import build_batch, build_training
from t2vgan.utils.frozen import flatten
from tests.golden.record import load_golden
from tests.support.preset_steps import (
    DISTINCT_PRESETS,
    META,
    SIZES,
    OtherDeviceError,
    count_operations,
    meta_supported,
    train_on_meta,
)

PREPARE = NetworkOptimizer.prepare
OTHER_TORCH = 1.1  # growth that another version of torch may bring


def switches(preset: str) -> dict[str, object]:
    """Return a preset's options without their sizes: what is off, one or several."""
    options = flatten(PRESETS[preset].model) | flatten(PRESETS[preset].train)
    reduce = {int: lambda number: min(number, 2), float: bool}
    return {name: reduce.get(type(value), str)(value) for name, value in options.items()}


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_left_out_differs_from_a_distinct_one_in_sizes_only(preset):
    assert switches(preset) in [switches(name) for name in DISTINCT_PRESETS]


@pytest.mark.parametrize("preset", PRESETS)
def test_steps_neither_leave_the_device_nor_read_a_value(preset):
    train_on_meta(preset)


@pytest.mark.parametrize("preset", [name for name in DISTINCT_PRESETS if name != "notebook"])
def test_nor_do_they_with_the_approximate_penalty(preset):
    train_on_meta(preset, penalty="approximate")


@pytest.mark.parametrize("preset", [name for name in DISTINCT_PRESETS if name != "notebook"])
def test_the_exact_penalty_puts_nothing_by_index(preset):
    """On CUDA `index_put_` reads its indices: it waits, and cannot be captured.

    Autograd's own gradient of `values[indices]` does not, but that of torch.func.grad is an
    `index_put_`. No mode of dispatch may be active: the first would be the second.
    """
    train = PRESETS[preset].train.model_copy(update={"penalty": "exact", "precision": "no"})
    gan = build_training(PRESETS[preset].model, train, SIZES, torch.device("cpu"))
    step = train.penalty_every_steps
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
        gan.train_step(StepInputs.of([build_batch(gan, SIZES, step)]), step)
    names = {event.name for event in profiler.events()}
    assert "aten::convolution_backward" in names
    assert "aten::index_put_" not in names


@pytest.mark.parametrize("preset", ["shapes", "notebook"])
def test_weights_of_convolutions_lie_as_maps_do(preset):
    """So that none is converted in each pass; nor gradients, Adam's moments, the average."""
    train = PRESETS[preset].train.model_copy(update={"precision": "no"})
    with meta_supported():
        gan = build_training(PRESETS[preset].model, train, SIZES, META)
        gan.train_step(StepInputs.of([build_batch(gan, SIZES, 1)]), 1)
    weights = [w for network in gan.networks.values() for w in network.parameters() if w.ndim == 4]
    weights += [
        part
        for side in gan.optimizers.values()
        for weight, state in side.optimizer.state.items()
        if weight.ndim == 4
        for part in (state["exp_avg"], state["exp_avg_sq"], side.gradients.views[weight])
    ]
    assert weights
    assert all(w.is_contiguous(memory_format=torch.channels_last) for w in weights)


# --- each fault, planted --------------------------------------------------------------------------


def make_on_cpu(self, name, values, counts=None):
    self.totals[name] = torch.stack([values.detach().mean(), torch.ones(())])


def read_item(self, loss, beta2):
    if loss.item() > 0:
        loss = loss * 1
    return PREPARE(self, loss, beta2)


def branch_on_tensor(self, loss, beta2):
    if loss.isfinite():
        loss = loss * 1
    return PREPARE(self, loss, beta2)


def index_by_mask(self, loss, beta2):
    norms = torch.stack([p.grad.norm() for p in self.network.parameters() if p.grad is not None])
    return PREPARE(self, loss + norms[norms > 0].sum() * 0, beta2)


@pytest.mark.parametrize(
    ("owner", "name", "fault", "error"),
    [
        (MetricAccumulator, "add", make_on_cpu, OtherDeviceError),
        (NetworkOptimizer, "prepare", read_item, RuntimeError),
        (NetworkOptimizer, "prepare", branch_on_tensor, RuntimeError),
        (NetworkOptimizer, "prepare", index_by_mask, NotImplementedError),
    ],
)
def test_a_planted_fault_is_found(monkeypatch, owner, name, fault, error):
    monkeypatch.setattr(owner, name, fault)
    with pytest.raises(error, match=r"CPU|[Mm]eta"):
        train_on_meta("quickstart")


def test_a_table_made_on_the_cpu_is_found(monkeypatch):
    hat = resampling.hat
    monkeypatch.setattr(resampling, "hat", lambda places, cells: hat(places, torch.arange(32)))
    with pytest.raises((OtherDeviceError, RuntimeError), match=r"cpu|CPU"):
        train_on_meta("shapes-cpu")


def test_a_constant_copied_from_the_cpu_is_found(monkeypatch):
    """A number as a tensor: `.to(device)` of it waits, where an argument would not."""
    correlate = motion.correlate

    def scaled(first, second, reach):
        return correlate(torch.tensor(1.0).to(first.device) * first, second, reach)

    monkeypatch.setattr(motion, "correlate", scaled)
    with pytest.raises(OtherDeviceError, match="CPU"):
        train_on_meta("video-small")


# --- the number of operations ---------------------------------------------------------------------


class FewerOperationsWarning(UserWarning):
    """A step has become cheaper than its golden: write it anew."""


def test_steps_have_no_more_operations_than_their_golden():
    golden, found = load_golden("operations"), count_operations()
    same_torch = golden["made_with"]["versions"]["torch"] == torch.__version__.partition("+")[0]
    allowed = 1.0 if same_torch else OTHER_TORCH
    more, fewer = [], []
    assert golden["presets"].keys() == found.keys()
    for preset, kinds in golden["presets"].items():
        assert kinds.keys() == found[preset].keys()
        for kind, counts in kinds.items():
            for unit, number in counts.items():
                now = found[preset][kind][unit]
                line = f"{preset}, {kind} step: {now} {unit} instead of {number}"
                if now > allowed * number:
                    more.append(line)
                elif now < number:
                    fewer.append(line)
    assert not more, "\n".join(["On a GPU each is a launch.", *more])
    if fewer and same_torch:
        lines = [*fewer, "python -m tests.golden.record operations, and commit the file"]
        warnings.warn("\n".join(lines), FewerOperationsWarning, stacklevel=1)
