"""What a trace of a GPU holds."""

from benchmarks.gpu_check.kernels import KernelCounts, count_kernels


def event(category: str, start: float, microseconds: float) -> dict:
    return {"ph": "X", "cat": category, "name": "any", "ts": start, "dur": microseconds}


def test_overlapping_kernels_are_busy_once():
    events = [
        event("kernel", 100, 50),
        event("kernel", 0, 10),
        event("kernel", 120, 10),  # on another stream, inside the first
        event("gpu_memcpy", 140, 30),
        event("cuda_runtime", 0, 1000),  # the host
        event("gpu_user_annotation", 0, 1000),  # names of parts
        {"ph": "M", "name": "process_name"},
    ]
    assert count_kernels(events) == KernelCounts(kernels=3, copies=1, busy_ms=0.08)


def test_a_step_without_kernels():
    assert count_kernels([]) == KernelCounts(0, 0, 0.0)
