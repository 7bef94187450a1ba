"""Run the tests marked `gpu`, and record each immediately."""

from collections import Counter
from pathlib import Path

import pytest
import torch

from benchmarks.measure import ROOT, benchmark
from benchmarks.record import write_record

MAX_MESSAGE = 2000


class Recorder:
    """Record the outcome of each test of a pytest run."""

    def __init__(self) -> None:
        self.outcomes: dict[str, str] = {}
        self.failures: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep the outcome of a test, or of fixtures unless passed."""
        if report.when == "call" or report.outcome != "passed":
            self.outcomes[report.nodeid] = report.outcome
            if report.failed:
                self.failures[report.nodeid] = str(report.longrepr)[-MAX_MESSAGE:]
            self.write()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Keep files that cannot be collected."""
        if report.failed:
            self.failures[report.nodeid] = str(report.longrepr)[-MAX_MESSAGE:]
            self.write()

    def write(self) -> Path:
        """Write the record."""
        counts = Counter(self.outcomes.values())
        names = ("passed", "failed", "skipped")
        content = {
            "headline": ", ".join(f"{counts[name]} {name}" for name in names),
            "outcomes": self.outcomes,
            "failures": self.failures,
        }
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return write_record("gpu_tests", content, device=device)


def run() -> int:
    """Run the tests; return pytest's exit code."""
    recorder = Recorder()
    options = ["-m", "gpu", "-p", "no:cacheprovider", "-q", "--rootdir", str(ROOT)]
    code = pytest.main([*options, *map(str, find_files())], plugins=[recorder])
    print(f"wrote {recorder.write()}")
    return int(code)


def find_files() -> list[Path]:
    """Return the test files with tests marked `gpu`.

    Other files may need more packages.
    """
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    return [path for path in files if "pytest.mark.gpu" in path.read_text()]


if __name__ == "__main__":
    benchmark(run)
