"""Time each rank's computation, and find the slowest rank."""

import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from t2vgan.distributed.context import DistributedContext


class ComputeTimer:
    """Measure this rank's computation without waiting for others.

    Whole steps are not measured, because ranks wait for each other in them, so all take as long as
    the slowest. Computing gradients, up to their all-reduce, waits for no other rank.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.intervals: list[tuple[Any, Any]] = []  # (start, end), as `_now` returns them

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Add the time until the context ends."""
        start = self._now()
        yield
        self.intervals.append((start, self._now()))

    def read(self) -> float:
        """Return the seconds since the last call; the device must be synchronized."""
        intervals, self.intervals = self.intervals, []
        if self.device.type == "cuda":
            return sum(start.elapsed_time(end) for start, end in intervals) / 1000
        return sum(end - start for start, end in intervals)

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
    # The lower median: with two ranks it is the faster one.
    median = statistics.median_low(by_rank)
    return {
        "rank_skew": by_rank[slowest] / median if median else 1.0,
        "slowest_rank": slowest,
    }
