"""A graph capture for any device: records operations, and repeats them.

Like a CUDA graph it works on the same tensors and runs no Python when it is replayed: what was a
number on the host while it was recorded stays that number, and every tensor stays where it is.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class OpRecorder(TorchDispatchMode):
    """Records every operation below autograd while it is active."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        assert function is not torch.ops.aten._local_scalar_dense.default, "waits for the device"
        output = function(*args, **(kwargs or {}))
        self.operations.append((function, args, kwargs or {}, output))
        return output


class RecordedOps:
    """A `Capture` whose recording is at the same time the first replay.

    A replay spoils what later recordings returned, as a CUDA graph may: these have the memory that
    it uses within itself.
    """

    def __init__(self) -> None:
        self.num_recordings = 0
        self.num_replays = 0
        self.outputs: list[Any] = []
        """What the recordings return, in order."""

    def warm_up(self, function: Callable[[], Any]) -> Any:
        return function()

    def __call__(self, function: Callable[[], Any]) -> Callable[[], Any]:
        self.num_recordings += 1
        with OpRecorder() as recorder:
            output = function()
        self.outputs.append(output)
        place, is_first = len(self.outputs), True

        def replay() -> Any:
            nonlocal is_first
            if not is_first:
                self.num_replays += 1
                spoil(self.outputs[place:])
                repeat(recorder.operations)
            is_first = False
            return output

        return replay


@torch.no_grad()
def spoil(outputs: list[Any]) -> None:
    """Fill all floating-point tensors of some outputs with NaN."""
    for leaf in tree_leaves(outputs):
        if isinstance(leaf, Tensor) and leaf.is_floating_point():
            leaf.fill_(torch.nan)


@torch.no_grad()
def repeat(operations: list[tuple]) -> None:
    """Run operations again; new results go where the recorded ones are."""
    for function, args, kwargs, output in operations:
        again = function(*args, **kwargs)
        if any(result.alias_info for result in function._schema.returns):
            continue  # a view, or in place
        for old, new in zip(tree_leaves(output), tree_leaves(again), strict=True):
            if isinstance(old, Tensor):
                old.copy_(new)
