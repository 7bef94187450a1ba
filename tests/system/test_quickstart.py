"""The first command of the README, from a fresh clone, with few steps."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from t2vgan.media import load_clip
from tests.support.commands import ROOT, run_ok


@pytest.fixture
def clone(tmp_path) -> Path:
    """The files that git knows, as a stranger gets them, changes included."""
    folder = tmp_path / "clone"
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, target)
    return folder


def quickstart(clone: Path) -> subprocess.CompletedProcess:
    venv = Path(sys.prefix)
    options = "--train.num-steps 8 --log-every-steps 2 --evaluate-num-clips 38"
    (venv / ".installed").touch()  # the environment that runs the tests is the installed one
    return run_ok(
        "make",
        "quickstart",
        f"VENV={venv}",
        "NUM_CLIPS=800",
        "BUILD_OPTIONS=--clips-per-shard 50",
        "NUM_EVALUATED=38",
        f"TRAIN_OPTIONS={options}",
        "EVALUATE_OPTIONS=--probe-steps 5",
        cwd=clone,
        timeout=400,
        PYTHONPATH=str(clone),
    )


def test_make_quickstart_leads_to_videos_and_a_report(clone):
    result = quickstart(clone)
    run_dir = clone / "runs" / "quickstart"
    assert "runs/quickstart/report.html" in result.stdout
    videos = sorted(path.name for path in (run_dir / "generated").glob("*.gif"))
    assert len(videos) == 19
    assert "circle-moving-up-right-0.gif" in videos
    clip = load_clip(run_dir / "generated" / "circle-moving-up-right-0.gif")
    assert clip.shape == (10, 64, 64, 3)
    evaluation = json.loads((run_dir / "evaluation.json").read_text())
    assert evaluation["protocol"]["num_clips"] == 38
    assert evaluation["ceiling"]["accuracy"] > 0.99
    page = (run_dir / "report.html").read_text()
    assert "circle moving up-right" in page
    assert json.loads((run_dir / "config.json").read_text())["train"]["num_steps"] == 8

    run = json.loads((run_dir / "run.json").read_text())
    assert run["world_size"] == 1, "as launch/accelerate/one_process.yaml says"

    again = quickstart(clone)
    assert "is complete at step 8" in again.stderr
