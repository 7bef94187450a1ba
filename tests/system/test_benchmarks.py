"""The benchmarks run, and each leaves its record; their figures are no test's business."""

import json
import os

from benchmarks.gpu_check import BENCHMARKS, run_all
from tests.system.commands import python_ok


def test_a_rehearsal_runs_every_benchmark(tmp_path):
    results = tmp_path / "results"
    command = ("-m", "benchmarks.gpu_check", "--rehearse", "--folder", tmp_path / "gpu-check")
    python_ok(*command, BENCHMARK_RESULTS=str(results), timeout=600)
    records = [json.loads(path.read_text()) for path in results.iterdir()]
    assert {record["benchmark"] for record in records} == {*BENCHMARKS, "quickstart"}
    for record in records:
        rates = [value for name, value in record.items() if name.endswith("_per_second")]
        assert all(way["median"] > 0 for ways in rates for way in ways.values())
        assert bool(rates) == (record["benchmark"] != "quickstart")


def test_one_failure_takes_nothing_from_the_others(tmp_path):
    commands = {
        "bad": ["-c", "raise SystemExit(3)"],
        "good": ["-c", f"open({str(tmp_path / 'record')!r}, 'w')"],
    }
    assert run_all(commands, os.environ) == ["bad"]
    assert (tmp_path / "record").exists()
