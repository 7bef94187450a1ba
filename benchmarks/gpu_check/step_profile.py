"""Profile a preset's training steps, run in several ways."""

import gc
import json
import os
import tempfile
import time
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu_check.environment import measure_ceilings
from benchmarks.gpu_check.kernels import trace_kernels
from benchmarks.gpu_check.steps import StepRunner, read_config, running_steps
from benchmarks.measure import benchmark
from benchmarks.record import find_record, print_table, write_record
from t2vgan.distributed.device import peak_memory_gb
from t2vgan.training.cost.op_counter import OpCounter
from t2vgan.utils.console import format_error

MAX_SINGLE_STEPS = 5  # steps of each kind, at most
KINDS = {"plain", "penalised"}
EAGER = "eager"
WAYS = {
    EAGER: "--compile off --cuda-graphs off",
    "graphs": "--compile off --cuda-graphs on",
    "graphs, approximate penalty": "--compile off --cuda-graphs on --train.penalty approximate",
    "compiled": "--compile on --cuda-graphs off",
    "compiled graphs": "--compile on --cuda-graphs on",
}
"""Name -> options of train.py."""


def run(
    preset: str,
    data: Path,
    ways: tuple[str, ...] = tuple(WAYS),
    num_steps: int = 96,
    options: str = "",
) -> int:
    """Profile one preset; add it to the record after each way.

    Args:
        preset: Preset of train.py.
        data: Shards that the steps read.
        ways: Ways of running a step. Numbers relative to eager steps need those, here or before.
        num_steps: Successive steps that are timed together.
        options: Additional options of train.py.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    found: dict[str, Any] = read_presets().get(preset, {})
    if not found:
        found |= {"ceilings": measure_ceilings(device), "ways": {}}
    for name in ways:
        content: dict[str, Any] = {}
        found["ways"][name] = content
        try:
            profile(content, preset, data, f"{options} {WAYS[name]}", num_steps, name)
        except Exception as error:  # a failure must not affect the other ways
            traceback.print_exc()
            content["error"] = format_error(error)
        finish(found)
        print(f"wrote {write(preset, found, device.type)}", flush=True)
    print_ways(preset, found["ways"])
    return int(any("error" in found["ways"][name] for name in ways))


def profile(
    content: dict[str, Any], preset: str, data: Path, options: str, num_steps: int, way: str
) -> None:
    """Time and count the steps of one way; fill `content`."""
    gc.collect()  # frees the networks and graphs of the previous way
    with tempfile.TemporaryDirectory() as folder:
        config = read_config(preset, data, Path(folder) / "run", options)
        start = time.perf_counter()
        with running_steps(config) as steps:
            content["start_seconds"] = time.perf_counter() - start
            is_gpu = steps.device.type == "cuda"
            if is_gpu:
                torch.cuda.reset_peak_memory_stats()
            content |= {
                "step_ms": 1000 * steps.time_steps(num_steps),
                "peak_memory_gb": peak_memory_gb(steps.device),
                "precision": str(steps.trainer.gan.precision).removeprefix("torch."),
                "global_batch_size": config.train.global_batch_size,
                "penalty_every_steps": steps.every,
            }
            for kind in steps.kinds:
                content[kind] = asdict(
                    steps.time_single_steps(kind, min(MAX_SINGLE_STEPS, num_steps))
                )
                if is_gpu:
                    steps.advance(kind)
                    content[kind] |= asdict(trace_kernels(steps.step))
                if way == EAGER:
                    content[kind] |= count_work(steps, kind)


def count_work(steps: StepRunner, kind: str) -> dict[str, Any]:
    """Count the FLOPs and bytes of a step of a kind."""
    steps.advance(kind)
    with OpCounter() as counter:
        steps.step()
    return {
        "operations": counter.total,
        "gflop": counter.flops / 1e9,
        "gflop_by_type": {str(t)[6:]: n / 1e9 for t, n in counter.flops_by_dtype.items()},
        "gigabytes": counter.bytes_moved / 1e9,
    }


def finish(found: dict[str, Any]) -> None:
    """Add FLOP/s, share of the floor and busy share.

    The floor is the time of the eager step's operations without launches: the larger of FLOPs over
    the rate of matrix products and bytes over the rate of copies.
    """
    eager, ceilings = found["ways"].get(EAGER), found["ceilings"]
    if eager is None or "error" in eager:
        return
    for kind in KINDS & eager.keys():
        work = eager[kind]
        products = sum(n / ceilings["matmul_tflops"][t] for t, n in work["gflop_by_type"].items())
        copies = 1000 * work["gigabytes"] / ceilings["copy_gb_per_second"]
        work["floor_ms"] = max(products, copies)
    gflop, found["floor_ms"] = (mean_over_kinds(eager, name) for name in ("gflop", "floor_ms"))
    for way in found["ways"].values():
        if "step_ms" in way:
            way["tflops"] = gflop / way["step_ms"]
            way["share_of_floor"] = found["floor_ms"] / way["step_ms"]
            if "error" not in way and "busy_ms" in way["plain"]:
                way["busy_share"] = mean_over_kinds(way, "busy_ms") / way["step_ms"]


def mean_over_kinds(way: dict[str, Any], name: str) -> float:
    """Return a value's mean over the steps of a run."""
    plain = way["plain"][name]
    if "penalised" not in way:
        return plain
    return plain + (way["penalised"][name] - plain) / way["penalty_every_steps"]


def read_presets() -> dict[str, Any]:
    """Return the presets that this check has recorded so far."""
    path, check = find_record("step_profile"), os.environ.get("BENCHMARK_CHECK")
    before = json.loads(path.read_text()) if path else {}
    return before["presets"] if check and before.get("check") == check else {}


def write(preset: str, found: dict[str, Any], device: str) -> Path:
    """Write the record, with the presets that this check wrote before."""
    check, presets = os.environ.get("BENCHMARK_CHECK"), read_presets()
    headline = f"{preset}: " + ", ".join(
        f"{name} {way['step_ms']:.3g} ms" if "step_ms" in way else f"{name} failed"
        for name, way in found["ways"].items()
    )
    content = {"headline": headline, "check": check, "presets": presets | {preset: found}}
    return write_record("step_profile", content, device=device)


def print_ways(preset: str, ways: dict[str, Any]) -> None:
    """Print a row per way."""
    columns = {
        "ms": lambda way: way["step_ms"],
        "plain ms": lambda way: way["plain"]["total_ms"],
        "host ms": lambda way: way["plain"]["host_ms"],
        "kernels": lambda way: way["plain"]["kernels"],
        "busy": lambda way: way["busy_share"],
        "GB": lambda way: way["peak_memory_gb"],
        "start s": lambda way: way["start_seconds"],
        "TFLOP/s": lambda way: way["tflops"],
        "of floor": lambda way: way["share_of_floor"],
    }

    def cell(way: dict[str, Any], column: str) -> str:
        try:
            return f"{columns[column](way):.3g}"
        except KeyError:  # no GPU, or the way failed
            return "-"

    rows = [[name, *(cell(way, column) for column in columns)] for name, way in ways.items()]
    print_table([preset, *columns], rows)


if __name__ == "__main__":
    benchmark(run)
