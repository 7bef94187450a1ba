"""Record the device, the software and two ceilings: copying and matrix products."""

import importlib.util
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import torch

from benchmarks.measure import benchmark
from benchmarks.record import write_record

PACKAGES = (
    "numpy", "cv2", "PIL", "accelerate", "einops", "safetensors", "webdataset", "fsspec",
    "pydantic", "tyro", "tqdm", "torchvision", "triton", "pytest", "av", "wandb",
)  # fmt: skip
CUDA_SIZES = {"copied_bytes": 2**30, "side": 8192}
CPU_SIZES = {"copied_bytes": 2**24, "side": 256}
REPEATS = 10


def run() -> None:
    """Record the device, the software and the ceilings."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    content = {
        "device_name": device.type,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "threads": torch.get_num_threads(),
        "cores": len(os.sched_getaffinity(0)),
        "missing_packages": [name for name in PACKAGES if importlib.util.find_spec(name) is None],
        "c_compiler": shutil.which("cc") or shutil.which("gcc"),
        **(describe_gpu() if device.type == "cuda" else {}),
        **measure_ceilings(device),
    }
    content["headline"] = (
        f"{content['device_name']}, torch {torch.__version__}, Python {platform.python_version()},"
        f" {content['copy_gb_per_second']:.0f} GB/s,"
        f" {content['matmul_tflops']['bfloat16']:.3g} TFLOP/s in bfloat16"
    )
    print(f"wrote {write_record('environment', content, device=device.type)}")


def describe_gpu() -> dict[str, Any]:
    """Return the GPU's name, memory, driver and supported types."""
    properties = torch.cuda.get_device_properties(0)
    free, total = torch.cuda.mem_get_info()
    return {
        "device_name": properties.name,
        "device_count": torch.cuda.device_count(),
        "driver": read_driver_version(),
        "capability": torch.cuda.get_device_capability(),
        "multiprocessors": properties.multi_processor_count,
        "memory_gb": total / 1e9,
        "free_memory_gb": free / 1e9,
        "computes_bfloat16": torch.cuda.is_bf16_supported(including_emulation=False),
    }


def read_driver_version() -> str | None:
    """Return the driver's version; None if nvidia-smi does not report it."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        found = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.split("\n")[0].strip()


def measure_ceilings(device: torch.device) -> dict[str, Any]:
    """Measure copying within memory, and square matrix products by type."""
    sizes = CUDA_SIZES if device.type == "cuda" else CPU_SIZES
    source = torch.randint(256, (sizes["copied_bytes"],), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copying = time_call(lambda: target.copy_(source), device)
    tflops = {}
    for name in ("bfloat16", "float16", "float32"):
        matrix = torch.randn(sizes["side"], sizes["side"], device=device).to(getattr(torch, name))
        seconds = time_call(partial(torch.matmul, matrix, matrix), device)
        tflops[name] = 2 * sizes["side"] ** 3 / seconds / 1e12
    return {"copy_gb_per_second": 2 * source.nbytes / copying / 1e9, "matmul_tflops": tflops}


def time_call(function: Callable[[], object], device: torch.device) -> float:
    """Return the median seconds of a call, including the device's work."""
    seconds = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        function()
        synchronize(device)
        seconds.append(time.perf_counter() - start)
    return median(seconds[1:])  # the first loads kernels


def synchronize(device: torch.device) -> None:
    """Wait for the device; a CPU needs no waiting."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    benchmark(run)
