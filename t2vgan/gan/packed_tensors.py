"""Pack the tensors of a batch into one buffer, copied at once."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

ALIGNMENT = 64  # bytes: enough for tensors of any type and for vectorised loads


class Place(NamedTuple):
    """Where a tensor is in a buffer."""

    name: str
    start: int
    """In bytes."""
    dtype: torch.dtype
    shape: torch.Size


Layout = tuple[Place, ...]


@dataclass(frozen=True)
class PackedTensors:
    """Hold tensors of several types in one buffer."""

    buffer: Tensor
    """(N,) uint8."""
    layout: Layout

    @classmethod
    def pack(cls, tensors: Mapping[str, Tensor], *, is_pinned: bool) -> "PackedTensors":
        """Copy CPU tensors into a buffer.

        From a pinned buffer, copies to a GPU are asynchronous.
        """
        layout, size = [], 0
        for name, tensor in tensors.items():
            layout.append(Place(name, size, tensor.dtype, tensor.shape))
            size += -(-tensor.nbytes // ALIGNMENT) * ALIGNMENT
        packed = cls(torch.empty(size, dtype=torch.uint8, pin_memory=is_pinned), tuple(layout))
        for name, own in packed.unpack().items():
            own.copy_(tensors[name])
        return packed

    def to(self, device: torch.device) -> "PackedTensors":
        """Copy to a device asynchronously; on the CPU nothing is copied."""
        return PackedTensors(self.buffer.to(device, non_blocking=True), self.layout)

    def unpack(self) -> dict[str, Tensor]:
        """Return the tensors, as views of the buffer."""
        return {place.name: self.view(place) for place in self.layout}

    def __getitem__(self, name: str) -> Tensor:
        """Return the tensor of a name, as a view of the buffer."""
        return next(self.view(place) for place in self.layout if place.name == name)

    def view(self, place: Place) -> Tensor:
        """Return the tensor at a place, as a view of the buffer."""
        end = place.start + place.shape.numel() * place.dtype.itemsize
        return self.buffer[place.start : end].view(place.dtype).view(place.shape)
