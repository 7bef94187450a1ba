"""Count a step's kernels, and the time during which they run."""

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

KERNELS = {"kernel"}
COPIES = {"gpu_memcpy", "gpu_memset"}


@dataclass(frozen=True)
class KernelCounts:
    """What a GPU did in a step."""

    kernels: int
    copies: int
    """Number of memory copies and fills."""
    busy_ms: float
    """Milliseconds during which at least one kernel or copy ran."""


def trace_kernels(step: Callable[[], object]) -> KernelCounts:
    """Run a step under PyTorch's profiler; return what the GPU did."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        step()
        torch.cuda.synchronize()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        return count_kernels(json.loads(path.read_text())["traceEvents"])


def count_kernels(events: Iterable[Mapping[str, Any]]) -> KernelCounts:
    """Count the GPU's events in a trace in Chrome's format.

    Times in it are in microseconds.
    """
    ran = [event for event in events if event.get("cat") in KERNELS | COPIES]
    busy, end = 0.0, float("-inf")
    for start, stop in sorted((event["ts"], event["ts"] + event["dur"]) for event in ran):
        busy += max(0.0, stop - max(start, end))
        end = max(end, stop)
    num_kernels = sum(event["cat"] in KERNELS for event in ran)
    return KernelCounts(num_kernels, len(ran) - num_kernels, busy / 1000)
