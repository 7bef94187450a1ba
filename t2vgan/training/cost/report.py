"""Format the estimated cost of a step on GPUs."""

from collections.abc import Mapping

import torch

from t2vgan.config import Config
from t2vgan.data.batch_plan import BatchPlan
from t2vgan.training.cost.roofline import DEVICES, estimate_mean_time
from t2vgan.training.cost.step_cost import StepCost, StepSizes, estimate_step_costs


def format_estimates(config: Config, plan: BatchPlan, sizes: StepSizes) -> list[str]:
    """Return lines on operations, memory and time of a process's steps.

    Time is estimated for some GPUs, for which precision `auto` means bfloat16.
    """
    train = config.train
    precision = torch.float32 if train.precision == "no" else torch.bfloat16
    number = plan.num_micro_batches
    of_one = estimate_step_costs(config.model, train, sizes, precision, is_whole=number == 1)
    costs = {kind: cost.repeat(number) for kind, cost in of_one.items()}
    lines = format_costs(costs, str(precision).removeprefix("torch."))
    peak = max(cost.peak_bytes for cost in costs.values()) / 1e9
    for name, device in DEVICES.items():
        estimate = estimate_mean_time(costs, device, train.penalty_every_steps)
        fits = "" if peak < device.memory_gb else "; does NOT fit"
        lines.append(
            f"{name:12} {1000 * estimate.seconds:7.1f} ms per step, bound by {estimate.bound}{fits}"
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
