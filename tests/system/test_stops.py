"""Told to stop, by any launcher, at any moment: saved, resumable, and nobody left behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.faults.same_run import records
from tests.support.commands import (
    BIN,
    ROOT,
    accelerate,
    environment,
    faulty,
    start,
    torchrun,
    train,
)
from tests.support.warm import run_warm, run_warm_ok, start_warm

LONG = ("--train.num-steps", 100_000, "--save-every-steps", 50_000)
SEVERAL = {"torchrun": torchrun, "accelerate": accelerate}


def workers_of(process: subprocess.Popen) -> list[psutil.Process]:
    """Return the training processes below a launcher."""
    below = psutil.Process(process.pid).children(recursive=True)
    return [child for child in below if any("train.py" in part for part in child.cmdline())]


def all_gone(workers: list[psutil.Process], seconds: float) -> bool:
    _, alive = psutil.wait_procs(workers, timeout=seconds)
    for worker in alive:
        worker.kill()
    return not alive


def assert_saved(run_dir: Path, reason: str) -> int:
    """Check that the run stopped at a step boundary and saved there; return the step."""
    last = records(run_dir, "event")[-1]
    assert f"({reason})" in last["message"]
    assert (run_dir / "checkpoints" / f"step_{last['step']:08d}").is_dir()
    return last["step"]


def terminate_launcher(process: subprocess.Popen) -> None:
    process.terminate()


def terminate_one_worker(process: subprocess.Popen) -> None:
    workers_of(process)[1].terminate()


@pytest.mark.parametrize("launcher", SEVERAL)
@pytest.mark.parametrize("stop", [terminate_launcher, terminate_one_worker])
def test_several_processes_stop_at_the_same_step(
    stop: Callable[[subprocess.Popen], None], launcher, circles, tmp_path
):
    """With one worker told, the others learn it from that one."""
    run_dir = tmp_path / "run"
    command = SEVERAL[launcher](2)
    process = start(*command, *train(circles, run_dir, *LONG), ACCELERATE_USE_CPU="true")
    workers = workers_of(process)
    assert len(workers) == 2
    stop(process)
    assert all_gone(workers, seconds=300)
    process.communicate(timeout=300)
    reason = records(run_dir, "event")[-1]["message"]
    step = assert_saved(run_dir, "SIGTERM" if "SIGTERM" in reason else "another process stopped")
    result = run_warm_ok(*train(circles, run_dir, "--train.num-steps", step + 2))
    assert f"resumed at step {step}" in result.stderr


@pytest.mark.parametrize("launcher", SEVERAL)
def test_workers_whose_launcher_was_killed_save_and_leave(launcher, circles, tmp_path):
    run_dir = tmp_path / "run"
    command = SEVERAL[launcher](2)
    process = start(*command, *train(circles, run_dir, *LONG), ACCELERATE_USE_CPU="true")
    workers = workers_of(process)
    process.kill()
    assert all_gone(workers, seconds=300)
    assert_saved(run_dir, "the launcher died")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_slurms_signal_to_a_launcher_that_orphans_its_worker(number, circles, tmp_path):
    run_dir = tmp_path / "run"
    launch = (BIN / "accelerate", "launch", "--config_file", "launch/accelerate/one_process.yaml")
    process = start(*launch, *train(circles, run_dir, *LONG))
    workers = workers_of(process)
    process.send_signal(number)
    assert all_gone(workers, seconds=300)
    assert_saved(run_dir, "the launcher died")


def test_a_run_under_nohup_outlives_its_shell(circles, tmp_path):
    run_dir, log = tmp_path / "run", tmp_path / "log"
    command = [sys.executable, *train(circles, run_dir, "--train.num-steps", 12)]
    with log.open("w") as output:
        shell = ["sh", "-c", 'nohup "$@" &', "sh", *map(str, command)]
        subprocess.run(shell, cwd=ROOT, env=environment(), stderr=output, stdout=output, check=True)
    finished = run_dir / "checkpoints" / "step_00000012"
    deadline = time.monotonic() + 300
    while not finished.is_dir() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert finished.is_dir(), log.read_text()


def test_a_terminal_that_closes_saves(circles, tmp_path):
    ours = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # under nohup children would ignore it
    process = start(sys.executable, *train(circles, tmp_path / "run", *LONG))
    signal.signal(signal.SIGHUP, ours)
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=300)
    assert_saved(tmp_path / "run", "SIGHUP")


def test_a_pipe_that_closes_loses_nothing(circles, tmp_path):
    """As Ctrl-C under `| tee`, which dies first."""
    process = start(sys.executable, *train(circles, tmp_path / "run", *LONG))
    process.stderr.close()
    time.sleep(1)  # status lines meet the closed pipe
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=300) == 0
    assert_saved(tmp_path / "run", "SIGINT")


@pytest.mark.parametrize(
    "numbers",
    [(signal.SIGTERM, signal.SIGINT), (signal.SIGINT, signal.SIGINT), (signal.SIGUSR1,) * 3],
)
def test_two_quick_signals_save(numbers, circles, tmp_path):
    run_dir = tmp_path / "run"
    process = start_warm(*faulty("slow@data:1-99", circles, run_dir, *LONG))
    for number in numbers:
        process.send_signal(number)
        time.sleep(0.01)  # else equal ones may become one
    _, output = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert_saved(run_dir, numbers[0].name)


def test_further_signals_do_not_disturb_the_save(circles, tmp_path):
    """Each of the checkpoint's files takes 0.3 s here: time to send many signals."""
    run_dir = tmp_path / "run"
    process = start_warm(*faulty("slow@checkpoint files:1-99", circles, run_dir, *LONG))
    process.terminate()
    while not list(run_dir.glob("checkpoints/.tmp-*")):  # before, a Ctrl-C would give up
        assert process.poll() is None
        time.sleep(0.01)
    for _ in range(4):
        time.sleep(0.25)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
    _, output = process.communicate(timeout=300)
    assert process.returncode == 0, output
    assert "already saving" in output
    assert_saved(run_dir, "SIGTERM")
    run_warm_ok("-m", "t2vgan.checkpoint", "verify", run_dir)


def test_a_disk_that_refuses_samples_does_not_stop_the_run(circles, tmp_path):
    run_dir = tmp_path / "run"
    fault = faulty("full@sample files:1-99", circles, run_dir, "--sample-every-steps", 4)
    run_warm_ok(*fault)
    assert records(run_dir, "samples") == []
    warnings = [event["message"] for event in records(run_dir, "event") if event.get("warning")]
    expected = "samples of step 4 were not saved (broken on purpose: No space left"
    assert any(expected in warning for warning in warnings)


def test_a_disk_that_is_full_for_a_while_costs_no_samples(circles, tmp_path):
    run_dir = tmp_path / "run"
    fault = faulty("full@sample files:1-2", circles, run_dir, "--sample-every-steps", 4)
    run_warm_ok(*fault)
    for kind in ("samples", "seeds"):
        found = records(run_dir, kind)
        assert [record["step"] for record in found] == [4, 8, 12]
        assert all((run_dir / record["file"]).exists() for record in found)


@pytest.mark.parametrize("place", ["sampling", "evaluation"])
def test_sampling_and_evaluating_are_cut_short(place, circles, tmp_path):
    """Told to stop during its first batch of twenty clips, it leaves the other eighteen."""
    run_dir = tmp_path / "run"
    every = {"sampling": "--sample-every-steps", "evaluation": "--evaluate-every-steps"}[place]
    options = (every, 2, "--evaluate-num-clips", 380, "--train.num-steps", 3)
    run_warm_ok(*faulty("term@sampling:1", circles, run_dir, *options))
    assert assert_saved(run_dir, "SIGTERM") == 2
    kind = {"sampling": "samples", "evaluation": "evaluation"}[place]
    assert records(run_dir, kind) == []
    run_warm_ok(*train(circles, run_dir, *options))
    assert [record["step"] for record in records(run_dir, kind)] == [2, 3]


# --- two runs in one folder -----------------------------------------------------------------------


def test_a_second_run_in_the_same_folder_is_refused_until_the_first_is_dead(circles, tmp_path):
    run_dir = tmp_path / "run"
    first = start_warm(*train(circles, run_dir, *LONG))
    result = run_warm(*train(circles, run_dir, *LONG))
    assert result.returncode == 2
    assert f"is in use by process {first.pid} on {os.uname().nodename}" in result.stderr
    assert "Traceback" not in result.stderr
    first.kill()
    first.communicate()
    run_warm_ok(*train(circles, run_dir, "--train.num-steps", 2))
