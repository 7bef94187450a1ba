"""Training steps of every preset: on the meta device, and counted on fake tensors."""

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from t2vgan.config import TrainConfig
from t2vgan.config.presets import PRESETS
from t2vgan.gan.batch import StepInputs
from t2vgan.training.cost.step_cost import (
    StepSizes,
    build_batch,
    build_training,
    estimate_step_costs,
)

META = torch.device("meta")
SIZES = StepSizes(
    num_clips=4, height=64, width=64, vocabulary_size=32, num_tokens=10, augments=False
)
AUGMENTED = ("video", "video-small")  # of which data sets may be small
DISTINCT_PRESETS = ("quickstart", "notebook", "shapes", "shapes-two", "video")
"""Presets of different steps; the smaller ones differ from these in sizes only."""


class OtherDeviceError(AssertionError):
    """An operation read or made a tensor on the CPU."""


class OnlyMeta(TorchDispatchMode):
    """Raise OtherDeviceError at any operation on a tensor that is elsewhere."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        for leaf in tree_iter((args, kwargs, out)):
            if isinstance(leaf, torch.Tensor) and leaf.device != META:
                raise OtherDeviceError(f"{func}: a tensor of shape {tuple(leaf.shape)} on the CPU")
        return out


class MetaAutocast(torch.autocast):
    """Autocast that knows the meta device; there it changes no types."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "meta" else device_type, *args, **kwargs)


def is_autocast_enabled(device_type: str) -> bool:
    """Return it of a device; autocast changes no types on the meta device."""
    return device_type != "meta" and torch.is_autocast_enabled(device_type)


@contextlib.contextmanager
def meta_supported() -> Iterator[None]:
    """Let autocast, Adam and the norm of gradients take meta tensors for those of a GPU."""
    with (
        mock.patch("torch.autocast", MetaAutocast),
        mock.patch("t2vgan.models.casting.is_autocast_enabled", is_autocast_enabled),
        mock.patch("torch.optim.adam._device_dtype_check_for_fused", return_value=None),
        mock.patch("torch.nn.utils.clip_grad._device_has_foreach_support", return_value=True),
    ):
        yield


def train_on_meta(preset: str, **changes: Any) -> None:
    """Run three steps of a preset: the first one, a plain and a penalised one.

    Meta tensors have no values: what reads one fails, and so does what mixes them with the CPU's.
    """
    train = TrainConfig.model_validate(
        {**PRESETS[preset].train.model_dump(), "precision": "no", **changes}
    )
    sizes = StepSizes(**{**vars(SIZES), "augments": preset in AUGMENTED})
    with meta_supported():
        gan = build_training(PRESETS[preset].model, train, sizes, META)
        for step in (1, 2, 2 * train.penalty_every_steps):
            batch = build_batch(gan, sizes, step)
            with OnlyMeta():
                gan.train_step(StepInputs.of([batch]), step)


def count_operations() -> dict[str, dict[str, dict[str, int]]]:
    """Count the operations of steps in bfloat16."""
    return {preset: _count(preset) for preset in DISTINCT_PRESETS}


def _count(preset: str) -> dict[str, dict[str, int]]:
    model, train = PRESETS[preset].model, PRESETS[preset].train
    costs = estimate_step_costs(model, train, SIZES, torch.bfloat16)
    return {
        kind: {"operations": cost.ops.total(), "kernels": cost.launches}
        for kind, cost in costs.items()
    }
