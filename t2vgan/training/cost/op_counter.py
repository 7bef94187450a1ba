"""Count the tensor operations that code dispatches, on any device."""

from collections import Counter
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from torch.utils.flop_counter import flop_registry

WITHOUT_KERNEL = {
    "aten._unsafe_view",
    "aten.detach",
    "aten.empty",
    "aten.empty_like",
    "aten.empty_strided",
    "aten.lift_fresh",
    "aten.new_empty",
    "aten.new_empty_strided",
    "aten.resize_",
    "aten.set_",
    "prim.device",
}
"""Operations that only allocate or reinterpret memory, besides views."""

LAUNCHES = {
    "aten._index_put_impl_": 8,  # with accumulation: linear index, sort, segments
    "aten.convolution": 2,  # products, bias
    "aten.convolution_backward": 3,  # gradients of data, weight, bias
    "aten.embedding_dense_backward": 2,
    "aten.grid_sampler_2d_backward": 3,
    "aten.index_put": 8,
    "aten.index_put_": 8,
}
"""Approximate number of CUDA kernels of operations that launch more than one."""


class OpCounter(TorchDispatchMode):
    """Count operations by name inside the context, backward passes included.

    Each ATen operation that reaches a device counts once, under its name ("aten.add"). Views and
    bare allocations launch nothing and do not count. The counts are those of eager execution, and
    the same on every device, except for operations that a device's implementation splits further.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ops: Counter[str] = Counter()
        """Number of calls by name."""
        self.flops_by_dtype: Counter[torch.dtype] = Counter()
        """Floating-point operations of matrix products and convolutions, 2 per multiply-add."""
        self.bytes_moved = 0
        """Total size of all inputs and outputs, assuming no cache hits."""

    @property
    def total(self) -> int:
        """Number of operations."""
        return self.ops.total()

    @property
    def launches(self) -> int:
        """Number of CUDA kernels launched, estimated by `LAUNCHES`."""
        return sum(LAUNCHES.get(name, 1) * number for name, number in self.ops.items())

    @property
    def flops(self) -> int:
        """Number of floating-point operations."""
        return self.flops_by_dtype.total()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        name = str(func.overloadpacket)
        if func.is_view or name in WITHOUT_KERNEL:
            return out
        self.ops[name] += 1
        tensors = [leaf for leaf in tree_iter((args, kwargs, out)) if isinstance(leaf, Tensor)]
        self.bytes_moved += sum(tensor.nbytes for tensor in tensors)
        if count := flop_registry.get(func.overloadpacket):
            self.flops_by_dtype[tensors[0].dtype] += count(*args, **kwargs, out_val=out)
        return out
