"""Print tables; write dated records with the machine and the commit."""

import json
import os
import platform
import re
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from t2vgan.utils.environment import git_commit
from t2vgan.utils.files import atomic_write_bytes

RESULTS_FOLDER = Path(__file__).parent / "results"
PACKAGES = (
    "torch", "numpy", "opencv-python-headless", "pillow", "av", "webdataset", "accelerate",
    "litdata", "mosaicml-streaming", "onnxruntime",
)  # fmt: skip


def results_folder() -> Path:
    """Return the folder of records: $BENCHMARK_RESULTS or benchmarks/results."""
    return Path(os.environ.get("BENCHMARK_RESULTS", RESULTS_FOLDER))


def write_record(name: str, content: Mapping[str, Any], *, device: str = "cpu") -> Path:
    """Write results/<date>-<name>-<device>.json: the content, the machine and the commit.

    $BENCHMARK_REHEARSAL marks the records of a rehearsal, whose figures are meaningless.
    """
    record = {
        "benchmark": name,
        "device": device,
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_commit(),
        "machine": describe_machine(),
        **({"rehearsal": True} if "BENCHMARK_REHEARSAL" in os.environ else {}),
        **content,
    }
    path = results_folder() / f"{record['time'][:10]}-{name}-{device}.json"
    atomic_write_bytes(path, (json.dumps(record, indent=2) + "\n").encode())
    return path


def find_record(name: str) -> Path | None:
    """Return the newest record of a benchmark, if there is one."""
    return max(results_folder().glob(f"*-*-*-{name}-*.json"), default=None)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a Markdown table, with all columns but the first right-aligned."""
    cells = [list(map(str, row)) for row in (headers, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    for row in (cells[0], rule, *cells[1:]):
        first, *others = zip(row, widths, strict=True)
        texts = [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]
        print("| " + " | ".join(texts) + " |")


def describe_machine() -> dict[str, Any]:
    """Return processor, load, memory, versions, and GPU if torch is loaded."""
    model = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    versions = {found.name: found.version for found in distributions()}
    machine: dict[str, Any] = {
        "processor": model[1] if model else platform.processor(),
        "cores": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: versions[name] for name in PACKAGES if name in versions},
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    return machine
