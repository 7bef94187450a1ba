"""Which rank is slow: a stopwatch on each, and their comparison."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from t2vgan.distributed.context import DistributedContext


class ForwardTimer:
    """Times the forward passes of this rank's networks.

    Not whole steps: in those the ranks wait for each other, so that the slowest rank's step takes
    as long as everybody's. A forward pass waits for nobody.
    """

    def __init__(self, networks: Sequence[nn.Module], device: torch.device) -> None:
        self.device = device
        self.passes: list[tuple[Any, Any]] = []  # (begin, end), as `now` returns them
        self.begin: Any = None
        for network in networks:
            network.register_forward_pre_hook(self._start)
            network.register_forward_hook(self._stop)

    def read(self) -> float:
        """Return the seconds since the last reading; call it when the device has caught up."""
        passes, self.passes = self.passes, []
        if self.device.type == "cuda":
            return sum(begin.elapsed_time(end) for begin, end in passes) / 1000
        return sum(end - begin for begin, end in passes)

    def _start(self, *_: Any) -> None:
        self.begin = self._now()

    def _stop(self, *_: Any) -> None:
        self.passes.append((self.begin, self._now()))

    def _now(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


def compare_ranks(processes: DistributedContext, seconds: float) -> dict[str, float]:
    """Return how much longer the slowest rank worked than the median one (collective)."""
    by_rank = processes.gather_objects(seconds)
    slowest = max(range(len(by_rank)), key=by_rank.__getitem__)
    # Of two in the middle the lower: of two ranks, one of which is slow, the median is the other.
    median = statistics.median_low(by_rank)
    return {
        "rank_skew": by_rank[slowest] / median if median else 1.0,
        "slowest_rank": slowest,
    }
