"""Format what a step costs, here and on other devices."""

from collections.abc import Mapping

import torch

from t2vgan.config import Config
from t2vgan.data.batch_plan import BatchPlan
from t2vgan.training.cost.roofline import DEVICES, Device, estimate_mean_time, measure_cpu
from t2vgan.training.cost.step_cost import StepCost, StepSizes, estimate_step_costs


def format_estimates(
    config: Config, plan: BatchPlan, sizes: StepSizes, precision: torch.dtype, device: torch.device
) -> list[str]:
    """Return lines on operations, memory and estimated times of a process's steps.

    `precision` and `device` are those of the run as started here. Its estimate of a CPU stands
    beside the time that was measured there; on GPUs `auto` means bfloat16.
    """
    train = config.train
    on_gpu = torch.float32 if train.precision == "no" else torch.bfloat16
    names = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}
    devices: dict[str, tuple[Device, torch.dtype]] = {}
    if device.type == "cpu":
        devices["this CPU"] = measure_cpu(), precision
    devices |= {name: (device, on_gpu) for name, device in DEVICES.items()}
    lines = []
    found: dict[torch.dtype, dict[str, StepCost]] = {}
    for name, (rates, dtype) in devices.items():
        if dtype not in found:
            costs = estimate_step_costs(config.model, train, sizes, dtype)
            found[dtype] = {
                kind: cost.repeat(plan.num_micro_batches) for kind, cost in costs.items()
            }
            lines += format_costs(found[dtype], names[dtype])
        costs = found[dtype]
        estimate = estimate_mean_time(costs, rates, train.penalty_every_steps)
        peak = max(cost.peak_bytes for cost in costs.values()) / 1e9
        fits = "" if not rates.memory_gb or peak < rates.memory_gb else "; does NOT fit"
        lines.append(
            f"{name:12} {1000 * estimate.seconds:7.1f} ms a step, bound by {estimate.bound}{fits}"
        )
    return lines


def format_costs(costs: Mapping[str, StepCost], precision: str) -> list[str]:
    """Return a line for each kind of step."""
    return [
        f"{kind + ' step':15} in {precision}: {cost.ops.total():,} operations,"
        f" {cost.flops.total() / 1e9:,.1f} GFLOP, {cost.bytes_moved / 1e9:,.2f} GB moved,"
        f" {cost.peak_bytes / 1e9:.2f} GB of tensors at the peak"
        for kind, cost in costs.items()
    ]
