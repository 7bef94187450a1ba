"""Check devices, the link between ranks and their clocks."""

import os
from collections import Counter
from pathlib import Path

import torch

from t2vgan.config import Config
from t2vgan.distributed.context import DistributedContext
from t2vgan.training.preflight.check_result import FIT, UNFIT, WARNING, CheckResult
from t2vgan.training.preflight.link import measure_clocks, measure_link
from t2vgan.utils.console import count_of

LARGEST_CLOCK_SKEW_SECONDS = 1.0
DRIVER = Path("/proc/driver/nvidia/version")


def check_devices(context: DistributedContext, config: Config) -> CheckResult:
    """Compare devices and drivers; no two processes may share a GPU."""
    ranks = context.gather_objects(describe_own_device(context.device))
    kinds = Counter((rank["name"], rank["driver"]) for rank in ranks)
    text = "; ".join(f"{count} x {name}, {driver}" for (name, driver), count in kinds.items())
    text += f", on {count_of(len({rank['host'] for rank in ranks}), 'host')}"
    gpus = [rank["uuid"] for rank in ranks if rank["uuid"]]
    if len(set(gpus)) < len(gpus):
        return CheckResult("devices", UNFIT, f"{text}; two processes share a GPU")
    if len({bool(rank["uuid"]) for rank in ranks}) > 1:
        return CheckResult("devices", UNFIT, f"{text}; some ranks have a GPU and some have none")
    if any(not rank["uuid"] and rank["driver"] != NO_DRIVER for rank in ranks):
        return CheckResult("devices", WARNING, f"{text}; a GPU driver without a GPU for torch")
    return CheckResult("devices", FIT if len(kinds) == 1 else WARNING, text)


NO_DRIVER = "no GPU driver"


def describe_own_device(device: torch.device) -> dict[str, str]:
    """Return this rank's host, device, GPU driver, and the GPU's UUID."""
    name, uuid, driver = "CPU", "", NO_DRIVER
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        name = f"{properties.name} of {properties.total_memory / 2**30:.0f} GiB"
        uuid = str(properties.uuid)
    if DRIVER.exists():
        numbers = [part for part in DRIVER.read_text().split() if part[0].isdigit()]
        driver = f"driver {numbers[0] if numbers else 'of unknown version'}"
    return {"host": os.uname().nodename, "name": name, "uuid": uuid, "driver": driver}


def check_link(context: DistributedContext, config: Config) -> CheckResult:
    """Check and time an all-reduce."""
    if not context.is_distributed:
        return CheckResult("all-reduce", FIT, "one process: nothing to reduce")
    link = measure_link(context)
    text = (
        f"{link.backend}: {link.bytes_per_second / 1e9:.2f} GB/s, latency"
        f" {link.latency_seconds * 1e6:.0f} us"
    )
    if not link.is_right:
        return CheckResult("all-reduce", UNFIT, f"{text}, but the sum is wrong")
    return CheckResult("all-reduce", FIT, text)


def check_clocks(context: DistributedContext, config: Config) -> CheckResult:
    """Compare wall clocks, which matter for comparing logs."""
    skews = measure_clocks(context)
    worst = max(range(len(skews)), key=lambda rank: abs(skews[rank]))
    text = f"at most {abs(skews[worst]):.3f} s from rank 0's"
    if abs(skews[worst]) > LARGEST_CLOCK_SKEW_SECONDS:
        return CheckResult("clocks", WARNING, f"rank {worst} is {skews[worst]:+.1f} s from rank 0")
    return CheckResult("clocks", FIT, text)
