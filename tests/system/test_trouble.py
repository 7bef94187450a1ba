"""Numbers that go bad, ranks that hang, data that rot, disks and servers that refuse."""

import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from t2vgan.data.manifest import load_manifest
from tests.faults.same_run import outcome, records
from tests.support.commands import (
    faulty,
    run,
    run_ok,
    start,
    torchrun,
    train,
)
from tests.support.warm import run_ranks, run_ranks_ok, run_warm, run_warm_ok, start_warm

EXIT_STOPPED = 3
QUICK_END = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": "2"}  # of a worker that cannot answer SIGTERM


def warnings(run_dir: Path) -> list[str]:
    return [event["message"] for event in records(run_dir, "event") if event.get("warning")]


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("precision", ["no", "fp16"])
def test_a_bad_step_on_one_rank_is_left_out_on_all(precision, circles, tmp_path):
    """The comparison of ranks at each step would stop the run if they disagreed."""
    run_dir = tmp_path / "run"
    options = ("--check-ranks-every-steps", 1, "--train.precision", precision)
    run_ranks_ok(2, *faulty("inf@generator loss:3:1", circles, run_dir, *options))
    assert '"world_size": 2' in (run_dir / "run.json").read_text()
    (warning,) = warnings(run_dir)
    assert "step 2 was not applied to the generator: loss or gradient is not finite" in warning
    assert len(warning.rpartition("clips: ")[2].split(", ")) == 8, "of both ranks"
    assert [record["bad_steps"] for record in records(run_dir, "train")] == [0, 1, 1, 1, 1, 1]


def test_many_bad_steps_stop_the_run_and_rollback_uses_other_data(finished_run, circles, tmp_path):
    run_dir = tmp_path / "run"
    options = ("--max-bad-steps", 3)
    result = run_warm(*faulty("nan@discriminator loss:6-99", circles, run_dir, *options))
    assert result.returncode == EXIT_STOPPED
    assert "Traceback" not in result.stderr
    assert "the last good checkpoint, of step 4" in result.stderr
    assert "--rollback" in result.stderr
    names = {path.name for path in (run_dir / "checkpoints").iterdir()}
    assert names == {"step_00000004"}, "nothing is saved while updates cannot be applied"

    shutil.copytree(run_dir, tmp_path / "as before")
    run_warm_ok(*train(circles, tmp_path / "as before", *options))
    assert outcome(tmp_path / "as before") == outcome(finished_run), "no bad step left a trace"
    for _ in range(2):  # asked again, it is the same order
        result = run_warm_ok(*train(circles, run_dir, *options, "--rollback"))
    assert "complete" in result.stderr
    assert any("with data order 1" in event["message"] for event in records(run_dir, "event"))
    assert outcome(run_dir)[1][:2] == outcome(finished_run)[1][:2]
    assert outcome(run_dir)[1][2:] != outcome(finished_run)[1][2:]


def test_rollback_is_for_runs_that_stopped_because_of_bad_steps(finished_run, circles, tmp_path):
    run_dir = shutil.copytree(finished_run, tmp_path / "run")
    result = run_warm(*train(circles, run_dir, "--rollback"))
    assert result.returncode == 2
    assert "did not stop because of nonfinite steps; omit --rollback" in result.stderr


# --- ranks ----------------------------------------------------------------------------------------


def test_one_flipped_bit_on_one_rank_is_named(circles, tmp_path):
    options = ("--check-ranks-every-steps", 1, "--train.num-steps", 40)
    results = run_ranks(2, *faulty("flipped bit", circles, tmp_path / "run", *options))
    assert [result.returncode for result in results] == [EXIT_STOPPED, EXIT_STOPPED]
    errors = "".join(result.stderr for result in results)
    assert "stopped: step 5: generator." in errors
    assert "differs on rank 1" in errors


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("stop@data:6:1", "missing or slow: rank 1;"),
        ("hang@data:6:1", "waiting for data for"),
        ("kill@data:6:1", "missing or slow: rank 1;"),
    ],
)
def test_a_rank_that_is_missed_is_named(fault, expected, circles, tmp_path):
    run_dir = tmp_path / "run"
    command = faulty(fault, circles, run_dir, "--timeout-seconds", 10)
    result = run(*torchrun(2), *command, **QUICK_END)
    assert result.returncode != 0
    lines = [line for line in result.stderr.splitlines() if line.startswith("stopped: ")]
    assert 1 <= len(lines) <= 2, "of a rank that hangs, a thread ends it with a line of its own"
    for line in lines:
        assert "another process is gone or too slow" in line
        assert expected in line
        assert "rank 1 (" in line
        assert "the same command resumes" in line
    run_warm_ok(*train(circles, run_dir))  # and it does


@pytest.mark.parametrize("option", ["--data.verify-checksums", "--dry-run"])
def test_a_gpu_without_enough_memory_is_told_what_needs_less(option, circles, tmp_path):
    result = run_warm(*faulty("oom@generator loss:2", circles, tmp_path / "run", option))
    assert result.returncode == 2
    assert (
        "error: rank 0: its GPU has too little memory for passes of 8 clips; use a smaller"
        " --train.micro-batch-size, --train.gradient-checkpointing on, or more processes (CUDA out"
        " of memory. Tried to allocate 2.00 GiB.)\n"
    ) in result.stderr
    assert "Traceback" not in result.stderr


# --- data -----------------------------------------------------------------------------------------


def spoil(data: Path, change: Callable[[Path], None]) -> None:
    for entry in load_manifest(data).shards[:3]:
        change(data / entry.name)


def pipe(path: Path) -> None:
    """Put something in the shard's place that never answers; its size must look right."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("world_size", [1, 2])
def test_shards_that_vanish_while_running_stop_all_ranks_with_counts(world_size, circles, tmp_path):
    """A launcher kills all ranks when one leaves: none may leave early."""
    data, run_dir = tmp_path / "data", tmp_path / "run"
    shutil.copytree(circles, data)
    launcher = torchrun(2) if world_size == 2 else (sys.executable,)
    command = faulty("slow@error message:1:0", data, run_dir, "--train.num-steps", 100_000)
    process = start(*launcher, *command)
    spoil(data, Path.unlink)
    _, output = process.communicate(timeout=300)
    assert process.returncode != 0
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == world_size, output
    assert len(set(errors)) == 1, "every rank counts the same"
    assert "(missing " in errors[0]
    assert "data.max_bad_fraction=0.01" in errors[0]
    assert any("missing" in warning for warning in warnings(run_dir))


def test_a_run_that_may_goes_on_without_lost_shards(circles, tmp_path):
    data, run_dir = tmp_path / "data", tmp_path / "run"
    shutil.copytree(circles, data)
    options = ("--train.num-steps", 60, "--data.max-bad-fraction", 0.9)
    process = start_warm(*faulty("slow@data:5-30", data, run_dir, *options))
    spoil(data, lambda path: path.write_bytes(path.read_bytes()[::-1]))
    _, output = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert any(": changed: " in warning for warning in warnings(run_dir))
    assert 0 < records(run_dir, "train")[-1]["data/bad_samples"] < 60 * 8


# --- disks, clocks, servers -----------------------------------------------------------------------


def test_a_save_that_the_disk_refuses_is_tried_again(circles, tmp_path):
    run_dir = tmp_path / "run"
    result = run_warm_ok(*faulty("full@checkpoint files:1", circles, run_dir))
    assert "step 4 was not saved (broken on purpose: No space left on device)" in result.stderr
    names = {path.name for path in (run_dir / "checkpoints").iterdir()}
    assert names == {"step_00000008", "step_00000012"}


def test_records_wait_while_the_disk_is_full_for_the_log(circles, small_disk):
    """A file system of 3 MB that is really full while the run logs, and is freed again."""
    run_dir = small_disk / "run"
    options = ("--train.num-steps", 4000, "--save-every-steps", 4000)
    process = start_warm(*faulty("slow@metrics:4-12", circles, run_dir, *options))
    ballast = small_disk / "ballast"
    fill(ballast)
    process.wait_for("records are kept in memory")
    ballast.unlink()
    process.terminate()
    _, output = process.communicate()
    assert process.returncode == 0, output
    steps = [record["step"] for record in records(run_dir, "train")]
    assert steps == list(range(2, steps[-1] + 1, 2)), "none is lost"


def fill(path: Path) -> None:
    with open(path, "wb", buffering=0) as file:
        try:
            for size in (4096, 1):
                while True:
                    file.write(bytes(size))
        except OSError:
            pass


def test_a_clock_that_jumps_changes_nothing(finished_run, circles, tmp_path):
    run_warm_ok(*faulty("jumping clock", circles, tmp_path / "jumping"))
    assert outcome(tmp_path / "jumping") == outcome(finished_run)


def test_a_read_only_folder_is_refused_before_training(circles, small_disk):
    run_dir = small_disk / "run"
    run_warm_ok(*train(circles, run_dir, "--train.num-steps", 2))
    run_ok("mount", "-o", "remount,ro", small_disk)
    result = run_warm(*train(circles, run_dir, "--train.num-steps", 4))
    assert result.returncode == 2
    assert "Read-only file system" in result.stderr
    assert "Traceback" not in result.stderr


def test_wandb_killed_in_the_middle_does_not_stop_a_run(circles, tmp_path):
    """Its real service process dies of SIGKILL while the run logs to it."""
    run_dir = tmp_path / "run"
    process = start_warm(
        *faulty("slow@data:7-40", circles, run_dir, "--tracking", "wandb", *LONGER),
        WANDB_MODE="offline",
        WANDB_DIR=str(tmp_path),
    )
    deadline = time.monotonic() + 300
    while not (services := wandb_services(process.pid)):  # it starts in its own time
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for service in services:
        service.send_signal(signal.SIGKILL)
    _, output = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert [record["step"] for record in records(run_dir, "train")] == list(range(2, 41, 2))


LONGER = ("--train.num-steps", 40, "--save-every-steps", 40)


def wandb_services(pid: int) -> list[psutil.Process]:
    children = psutil.Process(pid).children(recursive=True)
    return [p for p in children if any("wandb" in part for part in p.cmdline()[:2])]


def test_the_record_of_a_stop_is_plain_json(circles, tmp_path):
    run_dir = tmp_path / "run"
    run_warm(*faulty("nan@generator loss:1-99", circles, run_dir, "--max-bad-steps", 2))
    assert json.loads((run_dir / "bad_steps.json").read_text()) == {"step": 2, "rollbacks": 0}
