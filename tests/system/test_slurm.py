"""The batch files of launch/slurm on a real Slurm of two nodes."""

import os
import sys
from pathlib import Path

import pytest

from t2vgan.data.manifest import load_manifest
from tests.faults.same_run import outcome, records
from tests.support.commands import train
from tests.support.network import bandwidth
from tests.support.slurm import Slurm, cluster, is_installed, wait_until
from tests.support.warm import run_ranks_ok, run_warm_ok

pytestmark = pytest.mark.skipif(
    not (is_installed() or "CI" in os.environ),
    reason="needs root and `apt-get install slurm-wlm munge iproute2`; .ci/run brings them",
)
TRAIN = "launch/slurm/train.sbatch"
TWO_NODES = ("--nodes", 2, "--cpus-per-task", 1)
# So many steps that the slow network below does not let them end before the time limit.
STEPS = ("--train.num-steps", 120, "--save-every-steps", 40, "--log-every-steps", 10)


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("slurm"), num_nodes=2) as running:
        yield running


@pytest.fixture(scope="module")
def uninterrupted(circles, tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("runs") / "uninterrupted"
    run_ranks_ok(2, *train(circles, run_dir, *STEPS))
    return run_dir


def submit(slurm: Slurm, log: Path, *arguments: object) -> str:
    """Submit launch/slurm/train.sbatch: Slurm's options, then train.py's arguments."""
    split = arguments.index("train.py")
    options = (*TWO_NODES, "--output", log, *arguments[:split])
    return slurm.submit(*options, TRAIN, *arguments[split + 1 :], PYTHON=sys.executable)


def lives(log: Path) -> int:
    return log.read_text().count("resumed at step") if log.exists() else 0


def wait_for_life(log: Path, number: int) -> None:
    """Wait until a job has resumed that often."""
    wait_until(lambda: lives(log) == number, 150, f"life {number}")


def test_a_job_that_is_stopped_in_every_way_ends_with_the_same_bits(
    slurm, uninterrupted, circles, tmp_path
):
    """Its time limit, an administrator's requeue and an urgent job; then it completes."""
    run_dir, log = tmp_path / "run", tmp_path / "log"
    with bandwidth(slurm.nodes, "1mbit"):
        # Slurm looks every 30 s: the signal comes 25 to 55 s after the start.
        limit = ("--time", 1, "--signal", "TERM@5")
        job = submit(slurm, log, *limit, *train(circles, run_dir, *STEPS))
        wait_for_life(log, 1)
        slurm("scontrol", "update", f"job={job}", "TimeLimit=10")
        slurm("scontrol", "requeue", job)
        wait_for_life(log, 2)
        urgent = ("--partition", "urgent", "--nodes", 2, "--output", "/dev/null")
        slurm("sbatch", *urgent, "--wrap", "true")
        wait_until(lambda: log.read_text().count("stopped at step") == 3, 150, "the last stop")
    wait_for_life(log, 3)
    assert slurm.wait(job, "COMPLETED", "FAILED") == "COMPLETED", log.read_text()

    assert slurm.ask(job, "Restarts") == "3"
    assert '"world_size": 2' in (run_dir / "run.json").read_text()
    stops = [e["step"] for e in records(run_dir, "event") if "(SIGTERM)" in e["message"]]
    assert 0 < stops[0] < stops[1] < stops[2] < 120, "each life saved where it was stopped"
    assert outcome(run_dir) == outcome(uninterrupted)


def test_a_cancelled_job_saves_and_stays_away(slurm, circles, tmp_path):
    run_dir, log = tmp_path / "run", tmp_path / "log"
    job = submit(slurm, log, *train(circles, run_dir, "--train.num-steps", 100_000))
    wait_until(lambda: log.exists() and "step 6/" in log.read_text(), 150, "step 6")
    slurm("scancel", job)
    assert slurm.wait(job, "CANCELLED", "PENDING", "RUNNING") == "CANCELLED"
    wait_until(lambda: not slurm("squeue", "--noheader", "--jobs", job), 150, "the end of the job")
    assert "the same command resumes" in log.read_text()
    assert slurm.ask(job, "JobState") == "CANCELLED"


def test_exit_codes_are_those_of_the_run(slurm, circles, tmp_path):
    run_dir, log = tmp_path / "run", tmp_path / "log"
    options = ("--data.num-streams", 5)
    job = submit(slurm, log, *train(circles, run_dir, *options))
    assert slurm.wait(job, "COMPLETED", "FAILED") == "FAILED"
    assert slurm.ask(job, "ExitCode") == "2:0"
    assert (
        log.read_text().count("error: data.num_streams=5 must be a multiple of world_size=2") == 2
    )


def test_an_array_packs_videos_and_a_dependent_job_joins_them(slurm, tmp_path):
    videos, whole, out = tmp_path / "films", tmp_path / "whole", tmp_path / "out"
    run_warm_ok("-m", "data_tools.demo_videos", "--out", videos, "--num-videos", 12)
    options = ("--size", "32x32", "--num-frames", 4, "--rows-per-shard", 2, "--max-bad-fraction", 1)
    run_warm_ok("-m", "data_tools.pack_videos", videos, "--out", whole, *options)
    array = ("--array", "0-2", "--output", tmp_path / "%a.log", "launch/slurm/shards.sbatch")
    job = slurm.submit(*array, videos, "--out", out, *options, PYTHON=sys.executable)
    merge = f"{sys.executable} -m data_tools.merge_manifests {out}"
    after = (f"--dependency=afterok:{job}", "--output", tmp_path / "merge.log", "--wrap", merge)
    joined = slurm.submit(*after)
    assert slurm.wait(joined, "COMPLETED", "FAILED", "CANCELLED") == "COMPLETED"
    assert load_manifest(out).shards == load_manifest(whole).shards
