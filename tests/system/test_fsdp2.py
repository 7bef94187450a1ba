"""What FSDP2 can and cannot do with these networks and this torch; as docs/scaling.md says."""

import json
import signal
from pathlib import Path

from tests.support.warm import run_ranks, run_ranks_ok

SCRIPT = "tests/system/fsdp2.py"
NEWS = "FSDP2 can do more now: update docs/scaling.md"


def report_of(path: Path) -> dict:
    report = json.loads(path.read_text())
    assert report["world_size"] == 2
    return report


def test_sharded_networks_have_the_right_gradients_without_second_derivatives(tmp_path):
    right = ("generator", "discriminator", "both", "approximate")
    cases = (*right, "channels last", "average", "penalty, kept")
    run_ranks_ok(2, SCRIPT, tmp_path / "report.json", *cases)
    report = report_of(tmp_path / "report.json")
    for name in right:
        assert report[name] < 1e-12
    assert "non-contiguous" in report["channels last"], NEWS
    assert "mixed torch.Tensor and DTensor" in report["average"], NEWS
    assert report["penalty, kept"] > 0.01, NEWS


def test_the_double_backward_of_the_penalty_does_not_work(tmp_path):
    """It reads weights that were freed after the first backward: the process may well crash."""
    results = run_ranks(2, SCRIPT, tmp_path / "report.json", "penalty")
    if {result.returncode for result in results} & {-signal.SIGSEGV, -signal.SIGABRT}:
        return
    assert str(report_of(tmp_path / "report.json")["penalty"]).startswith("RuntimeError"), NEWS
