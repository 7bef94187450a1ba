"""The benchmarks run, and each leaves its record; their figures are no test's business."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import ROOT, python_ok

RECORDS = {
    1: {
        *("environment", "gpu_tests", "quickstart", "step_profile", "training_throughput"),
        *("resume", "gpu_check_part_1"),
    },
    2: {"shapes", "gpu_check_part_2"},
}
PRESETS = {"quickstart", "shapes", "video", "notebook"}


def read_records(folder: Path) -> dict[str, dict]:
    records = [json.loads(path.read_text()) for path in folder.glob("*.json")]
    return {record["benchmark"]: record for record in records}


@pytest.mark.parametrize("part", [1, 2])
def test_a_rehearsal_of_the_gpu_check_runs_every_item(tmp_path, part):
    out = tmp_path / "out"
    options = ("--part", part, "--rehearse", "--folder", tmp_path / "runs", "--out", out)
    shown = python_ok("-m", "benchmarks.gpu_check", *options, timeout=600).stdout
    records = read_records(out)
    assert records.keys() == RECORDS[part]
    assert len(list(out.iterdir())) <= 8
    assert all(record["rehearsal"] for record in records.values())
    items = records[f"gpu_check_part_{part}"]["items"]
    assert {item["state"] for item in items} == {"done"}, items
    assert all(item["item"] in shown for item in items)
    if part == 1:
        assert records["step_profile"]["presets"].keys() == PRESETS
        assert records["resume"]["was_killed"]
        assert not records["resume"]["different"]
        assert not records["gpu_tests"]["failures"]
    else:
        assert records["shapes"]["training"]["step"] == records["shapes"]["num_steps"] == 4
        assert records["shapes"]["evaluation"]["generated"]["accuracy"] is not None
        assert {path.name for path in out.glob("shapes*")} == {
            "shapes-metrics.jsonl",
            "shapes.safetensors",
        }


def test_make_checks_a_gpu_with_the_python_that_has_torch(tmp_path):
    """And installs nothing: such a machine may have no network."""
    venv = tmp_path / "venv"
    options = (f"VENV={venv}", f"PYTHON={sys.executable}", "PART=3")
    found = subprocess.run(
        ["make", "gpu-check", *options], cwd=ROOT, text=True, capture_output=True
    )
    assert found.returncode == 2
    assert "'3' for argument '--part'" in found.stderr
    assert not venv.exists()


@pytest.mark.parametrize(
    "command",
    [
        "build_throughput --num-clips 64 --turns 1 --workers 1",
        "loader_throughput --num-clips 320 --turns 1",
        "generate_throughput --num-clips 9 --turns 1 --cold-starts 1",
        "packing_throughput --num-videos 4 --turns 1 --seconds 1",
        "packing_memory --num-videos 500",
        "real_clips_loader --num-clips 160 --turns 1",
    ],
)
def test_benchmarks_run(tmp_path, command):
    name, *options = command.split()
    python_ok("-m", f"benchmarks.{name}", *options, BENCHMARK_RESULTS=str(tmp_path))
    (record,) = read_records(tmp_path).values()
    assert record["benchmark"] == name
    rates = [value for key, value in record.items() if key.endswith("_per_second")]
    assert all(way["median"] > 0 for ways in rates for way in ways.values())
    assert rates or name.startswith("packing") or name == "real_clips_loader"
