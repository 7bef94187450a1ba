"""The benchmarks run, and each leaves its record; their figures are no test's business."""

import json
import os

import pytest

from benchmarks.gpu_check import BENCHMARKS, run_all
from tests.support.commands import python_ok

TRAININGS = ("quickstart", "shapes")


def test_a_rehearsal_runs_every_benchmark(tmp_path):
    results = tmp_path / "results"
    command = ("-m", "benchmarks.gpu_check", "--rehearse", "--folder", tmp_path / "gpu-check")
    python_ok(*command, BENCHMARK_RESULTS=str(results), timeout=600)
    records = [json.loads(path.read_text()) for path in results.iterdir()]
    assert {record["benchmark"] for record in records} == {*BENCHMARKS, *TRAININGS}
    for record in records:
        rates = [value for name, value in record.items() if name.endswith("_per_second")]
        assert all(way["median"] > 0 for ways in rates for way in ways.values())
        assert bool(rates) == (record["benchmark"] not in TRAININGS)


@pytest.mark.parametrize(
    "command",
    [
        "packing_throughput --num-videos 4 --turns 1 --seconds 1",
        "packing_memory --num-videos 500",
        "real_clips_loader --num-clips 160 --turns 1",
    ],
)
def test_benchmarks_of_real_video_run(tmp_path, command):
    name, *options = command.split()
    python_ok("-m", f"benchmarks.{name}", *options, BENCHMARK_RESULTS=str(tmp_path))
    (record,) = (json.loads(path.read_text()) for path in tmp_path.iterdir())
    assert record["benchmark"] == name


def test_one_failure_takes_nothing_from_the_others(tmp_path):
    commands = {
        "bad": ["-c", "raise SystemExit(3)"],
        "good": ["-c", f"open({str(tmp_path / 'record')!r}, 'w')"],
    }
    assert run_all(commands, os.environ) == ["bad"]
    assert (tmp_path / "record").exists()
