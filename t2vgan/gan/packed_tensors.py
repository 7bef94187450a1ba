"""Pack the tensors of a batch into one buffer, copied at once."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

ALIGNMENT = 64  # bytes: enough for tensors of any type and for vectorised loads


@dataclass(frozen=True)
class PackedTensors:
    """Hold tensors of several types in one buffer."""

    buffer: Tensor
    """(N,) uint8."""
    layout: Mapping[str, tuple[int, torch.dtype, torch.Size]]
    """Each tensor's offset in bytes, type and shape, by name."""

    @classmethod
    def pack(cls, tensors: Mapping[str, Tensor], *, is_pinned: bool) -> "PackedTensors":
        """Copy CPU tensors into a buffer.

        From a pinned buffer, copies to a GPU are asynchronous.
        """
        layout, size = {}, 0
        for name, tensor in tensors.items():
            layout[name] = (size, tensor.dtype, tensor.shape)
            size += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
        packed = cls(torch.empty(size, dtype=torch.uint8, pin_memory=is_pinned), layout)
        for name, own in packed.unpack().items():
            own.copy_(tensors[name])
        return packed

    def to(self, device: torch.device) -> "PackedTensors":
        """Copy to a device asynchronously; on the CPU nothing is copied."""
        return PackedTensors(self.buffer.to(device, non_blocking=True), self.layout)

    def unpack(self) -> dict[str, Tensor]:
        """Return the tensors, as views of the buffer."""
        by_type = {dtype: self.buffer.view(dtype) for _, dtype, _ in self.layout.values()}
        tensors = {}
        for name, (start, dtype, shape) in self.layout.items():
            first = start // dtype.itemsize
            tensors[name] = by_type[dtype][first : first + shape.numel()].view(shape)
        return tensors
