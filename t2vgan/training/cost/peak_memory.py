"""Track the peak memory of tensors, on any device."""

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class PeakMemory(TorchDispatchMode):
    """Track the bytes of tensors created inside the context.

    A storage counts from the operation that creates it until its last tensor is freed: results,
    tensors saved for the backward pass, gradients. Memory internal to an operation, such as the
    workspace of a convolution, and the overhead of an allocator do not count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.live = 0
        """Current number of bytes."""
        self.peak = 0
        """Largest number of bytes after any operation."""
        self._seen: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        inputs = {storage._cdata for storage in find_storages((args, kwargs))}
        for storage in find_storages(out):
            if storage._cdata not in inputs and storage not in self._seen:
                self._seen.add(storage)
                self._add(storage.nbytes())
                weakref.finalize(storage, self._add, -storage.nbytes())
        self.peak = max(self.peak, self.live)
        return out

    def _add(self, num_bytes: int) -> None:
        self.live += num_bytes


def find_storages(tree: Any) -> list[torch.UntypedStorage]:
    """Return the storage of each tensor in a tree of containers."""
    return [leaf.untyped_storage() for leaf in tree_iter(tree) if isinstance(leaf, Tensor)]


def count_bytes(tree: Any) -> int:
    """Count the bytes of all storages in a tree, each once."""
    return sum({storage._cdata: storage.nbytes() for storage in find_storages(tree)}.values())
