"""Time each rank's forward passes, and find the slowest rank."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from t2vgan.distributed.context import DistributedContext


class ForwardTimer:
    """Times the forward passes of this rank's networks.

    Not whole steps: in those the ranks wait for each other, so that all take as long as the
    slowest. A forward pass waits for no other rank.
    """

    def __init__(self, networks: Sequence[nn.Module], device: torch.device) -> None:
        self.device = device
        self.passes: list[tuple[Any, Any]] = []  # (start, end), as `_now` returns them
        self.start: Any = None
        for network in networks:
            network.register_forward_pre_hook(self._start)
            network.register_forward_hook(self._stop)

    def read(self) -> float:
        """Return the seconds since the last call; the device must be synchronized."""
        passes, self.passes = self.passes, []
        if self.device.type == "cuda":
            return sum(start.elapsed_time(end) for start, end in passes) / 1000
        return sum(end - start for start, end in passes)

    def _start(self, *_: Any) -> None:
        self.start = self._now()

    def _stop(self, *_: Any) -> None:
        self.passes.append((self.start, self._now()))

    def _now(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def compare_ranks(context: DistributedContext, seconds: float) -> dict[str, float]:
    """Compare the slowest rank's seconds with the median rank's (collective)."""
    by_rank = context.gather_objects(seconds)
    slowest = max(range(len(by_rank)), key=by_rank.__getitem__)
    # Of two in the middle the lower: of two ranks, one of which is slow, the median is the other.
    median = statistics.median_low(by_rank)
    return {
        "rank_skew": by_rank[slowest] / median if median else 1.0,
        "slowest_rank": slowest,
    }
