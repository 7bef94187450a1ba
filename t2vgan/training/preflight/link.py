"""Measure the link between ranks and the skew of their clocks."""

import statistics
import time
from dataclasses import dataclass

import torch
import torch.distributed as dist

from t2vgan.distributed.context import DistributedContext

LARGE_ELEMENTS = 2**22  # 16 MiB of float32
LARGE_ROUNDS, SMALL_ROUNDS, CLOCK_ROUNDS = 5, 30, 21


@dataclass(frozen=True)
class Link:
    """Hold whether all-reduces are correct, and how fast they are."""

    backend: str
    is_right: bool
    bytes_per_second: float
    """Bytes sent (and received) by each rank in a ring: 2 (n - 1) / n of the tensor."""
    latency_seconds: float
    """Time of an all-reduce of one number."""


def measure_link(context: DistributedContext) -> Link:
    """Sum a small and a large tensor over ranks (collective)."""
    size = context.world_size
    small = torch.zeros(1, device=context.device)
    large = torch.full((LARGE_ELEMENTS,), 1.0 + context.rank, device=context.device)
    dist.all_reduce(small)  # connects; before it, NCCL's barriers would guess their device
    latency = statistics.median(time_sum(small) for _ in range(SMALL_ROUNDS))
    total = large.clone()
    dist.all_reduce(total)
    is_right = bool((total == size * (size + 1) / 2).all())
    seconds = statistics.median(time_sum(large) for _ in range(LARGE_ROUNDS))
    sent = 2 * (size - 1) / size * large.nbytes
    return Link(dist.get_backend(), not context.any(not is_right), sent / seconds, latency)


def time_sum(tensor: torch.Tensor) -> float:
    """Return the seconds of one all-reduce, device time included."""
    dist.barrier()
    start = time.perf_counter()
    dist.all_reduce(tensor)
    if tensor.device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def measure_clocks(context: DistributedContext) -> list[float]:
    """Return each rank's clock offset from rank 0, in seconds (collective).

    Ranks leave a gather at nearly the same time and read their clocks before the next one; the
    median over many rounds is accurate to about the time of a message.
    """
    context.gather_objects(None)
    rounds = [context.gather_objects(time.time()) for _ in range(CLOCK_ROUNDS)]
    return [
        statistics.median(times[rank] - times[0] for times in rounds)
        for rank in range(context.world_size)
    ]
