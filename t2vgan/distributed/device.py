"""Choose the precision, and describe the hardware."""

import os
import resource

import torch

from t2vgan.distributed.context import DistributedContext
from t2vgan.errors import UserError
from t2vgan.utils.console import count_of, first_line


def parse_device(name: str, context: DistributedContext) -> torch.device:
    """Return the named device; "auto" is this rank's GPU, or the CPU."""
    if name == "auto":
        return context.device
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"device={name} cannot be used here ({first_line(error)}); use auto or cpu"
        ) from None
    return device


def choose_precision(requested: str, device: torch.device) -> torch.dtype:
    """Return the autocast type; float32 means none.

    "auto" is accelerate's `mixed_precision` if that is set, else bfloat16 if the hardware computes
    in it, else float16 on a GPU and float32 on a CPU: CPUs without AMX or AVX512-BF16 convert every
    operand and are many times slower than in float32.

    Raises:
        UserError: accelerate's setting differs from the requested one, or is unknown.
    """
    named = {"bf16": torch.bfloat16, "fp16": torch.float16, "no": torch.float32}
    launcher = os.environ.get("ACCELERATE_MIXED_PRECISION") or "no"  # "no": the default, not set
    if launcher != "no":
        if requested not in ("auto", launcher) or launcher not in named:
            remedy = (
                f"--train.precision {launcher} or auto" if launcher in named else "bf16 or fp16"
            )
            raise UserError(
                f"ACCELERATE_MIXED_PRECISION={launcher} (accelerate's mixed_precision) is not"
                f" train.precision={requested}; use {remedy}, or --mixed_precision no"
            )
        return named[launcher]
    if requested != "auto":
        return named[requested]
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else torch.float16
    return torch.bfloat16 if cpu_computes_bfloat16() else torch.float32


def cpu_computes_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 matrices in hardware."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def choose_decoding_threads(device: torch.device) -> int:
    """Return the number of decoding threads for `data.num_threads` 0.

    A GPU leaves the CPU idle, and consumes clips faster than one thread decodes them.
    """
    num_cores = len(os.sched_getaffinity(0))
    return min(4, max(2, num_cores - 1)) if device.type == "cuda" else 1


def describe_device(device: torch.device) -> str:
    """Return a GPU's name, or the CPU's number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def describe_processes(context: DistributedContext, precision: str) -> str:
    """Describe processes, device, precision and unused GPUs in one line."""
    number = count_of(context.world_size, "process", "processes")
    text = f"{number} on {describe_device(context.device)}, {precision}"
    num_gpus = torch.cuda.device_count()
    if context.device.type == "cpu" and not num_gpus:
        return f"{text} (no GPU found)"
    if context.device.type == "cuda" and context.world_size == 1 < num_gpus:
        return f"{text} (of {num_gpus} GPUs; launch/accelerate/multi_gpu.yaml uses all)"
    return text


def peak_memory_gb(device: torch.device) -> float:
    """Return the GPU's peak memory, or on a CPU the process's.

    It is what was reserved: what is in use within a CUDA graph does not count as allocated.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device) / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
