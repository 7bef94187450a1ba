"""Are the networks the same on every rank? One number per tensor, compared."""

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import torch
from torch import Tensor, nn

from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import RunStoppedError

INTEGERS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def checksum(tensor: Tensor) -> Tensor:
    """Return an int64 that any single changed bit changes, computed where the tensor lives.

    The elements' bits as integers, times the odd numbers 1, 3, 5, ..., summed modulo 2^64: an odd
    factor maps different elements to different summands.
    """
    flat = tensor.detach().contiguous().reshape(-1)
    bits = flat.view(INTEGERS[flat.element_size()]).long()
    return (bits * (2 * torch.arange(len(bits), device=bits.device) + 1)).sum()


def check_ddp_consistency(
    processes: DistributedContext, modules: Mapping[str, nn.Module], step: int
) -> None:
    """Compare every network's tensors over ranks (collective).

    Raises:
        RunStoppedError: on every rank alike, naming a tensor and the ranks that hold another one.
    """
    if processes.world_size == 1:
        return
    tensors = {
        f"{module_name}.{name}": tensor
        for module_name, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    own = torch.stack([checksum(tensor) for tensor in tensors.values()]).tolist()
    found = find_mismatched_ranks(list(tensors), processes.gather_objects(own))
    if found:
        name, ranks = found[0]
        others = f" (and {len(found) - 1} other tensors)" if len(found) > 1 else ""
        raise RunStoppedError(
            f"step {step}: {name} differs on rank {', '.join(map(str, ranks))}{others}; the same"
            " command resumes from the last checkpoint; if it happens again, suspect the memory or"
            " the device of that rank"
        )


def find_mismatched_ranks(
    names: Sequence[str], sums_by_rank: Sequence[Sequence[Hashable]]
) -> list[tuple[str, list[int]]]:
    """Return the tensors that differ, each with the ranks that are not of the majority's opinion.

    Where opinions are even, the lowest rank's is taken for the right one.
    """
    found = []
    for name, sums in zip(names, zip(*sums_by_rank, strict=True), strict=True):
        right, _ = Counter(sums).most_common(1)[0]  # of equals, the first met
        if odd := [rank for rank, value in enumerate(sums) if value != right]:
            found.append((name, odd))
    return found
