"""Estimate the time of a step by the roofline model.

The estimate is the slowest of three: launching the kernels one after the other, computing the
products at the device's peak rate, and moving all operands through its memory (roofline:
Williams et al., CACM 2009, with launches as a third bound). No device reaches its peak, so
estimates are lower bounds.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from t2vgan.training.cost.step_cost import StepCost

LAUNCH_SECONDS = 5e-6
"""Time from Python to the launch of a CUDA kernel; in eager mode often more."""


@dataclass(frozen=True)
class Device:
    """Peak rates of a device."""

    float32_tflops: float
    """Rate of matrix products in float32, without TF32."""
    half_tflops: float
    """Rate of dense matrix products in bfloat16 or float16."""
    terabytes_per_second: float
    """Memory bandwidth."""
    memory_gb: float
    launch_seconds: float = LAUNCH_SECONDS


DEVICES = {
    "L4 24 GB": Device(30.3, 121, 0.30, 24),
    "A100 80 GB": Device(19.5, 312, 2.04, 80),
    "H100 80 GB": Device(67, 989, 3.35, 80),
    "H200 141 GB": Device(67, 989, 4.8, 141),
}
"""Values of NVIDIA's data sheets (SXM; L4: PCIe)."""


@dataclass(frozen=True)
class Estimate:
    """Time of a step on a device, and its bound."""

    seconds: float
    bound: str
    """One of "launches", "arithmetic" and "memory"."""


def estimate_time(cost: StepCost, device: Device) -> Estimate:
    """Estimate the time as the slowest of launches, arithmetic and memory."""
    single = cost.flops[torch.float32]
    seconds = {
        "launches": cost.launches * device.launch_seconds,
        "arithmetic": single / (1e12 * device.float32_tflops)
        + (cost.flops.total() - single) / (1e12 * device.half_tflops),
        "memory": cost.bytes_moved / (1e12 * device.terabytes_per_second),
    }
    bound = max(seconds, key=seconds.__getitem__)
    return Estimate(seconds[bound], bound)


def estimate_mean_time(
    costs: Mapping[str, StepCost], device: Device, penalty_every_steps: int
) -> Estimate:
    """Average the time over steps with and without the penalty.

    The bound is that of the steps without, unless all have it.
    """
    estimates = {kind: estimate_time(cost, device) for kind, cost in costs.items()}
    share = 1 / penalty_every_steps if "penalised" in estimates else 0.0
    shares = {"plain": 1 - share, "penalised": share}
    seconds = sum(shares[kind] * estimate.seconds for kind, estimate in estimates.items())
    return Estimate(seconds, next(iter(estimates.values())).bound)
