"""Trackers of whole runs: stopped, resumed, spread, without a key or a server."""

import os
import pty
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.same_run import outcome, records
from tests.support.commands import (
    ROOT,
    SAMPLED,
    environment,
    run_ok,
    start,
    torchrun,
    train,
)
from tests.support.wandb_files import artifacts_of, history_of, offline_runs, run_ids
from tests.support.warm import run_warm_ok, start_warm

LONG = ("--train.num-steps", 100_000, "--save-every-steps", 50_000)
NO_SERVER = {"WANDB_MODE": "online", "WANDB_API_KEY": "0" * 40, "WANDB_INIT_TIMEOUT": "5"}


def tracked_losses(run_dir: Path) -> dict[int, float]:
    rows = [row for path in offline_runs(run_dir) for row in history_of(path)]
    return {row["step"]: row["loss/generator"] for row in rows if "loss/generator" in row}


def losses(run_dir: Path) -> dict[int, float]:
    return {record["step"]: record["loss/generator"] for record in records(run_dir, "train")}


def test_a_preempted_run_goes_on_in_the_same_wandb_run(circles, tmp_path):
    """Offline, two processes, SIGTERM, and the same command again: nothing is lost or doubled."""
    run_dir = tmp_path / "run"
    options = (*SAMPLED, "--tracking", "wandb")
    process = start(*torchrun(2), *train(circles, run_dir, *LONG, *options), WANDB_MODE="offline")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=300)
    last = records(run_dir, "train")[-1]["step"] + 6
    again = train(circles, run_dir, *options, "--train.num-steps", last)
    run_ok(*torchrun(2), *again, WANDB_MODE="offline")

    runs = offline_runs(run_dir)
    assert len(runs) == 2, "one for each life; only the main rank has any"
    assert run_ids(runs[0]) == run_ids(runs[1])
    assert tracked_losses(run_dir) == losses(run_dir)
    rows = [row for path in runs for row in history_of(path)]
    films = {row["step"] for row in rows if "samples._type" in row}
    assert films == {record["step"] for record in records(run_dir, "samples")}
    for row in rows:
        if "samples.path" in row:
            assert any((path.parent / "files" / row["samples.path"]).is_file() for path in runs)
    assert {row["step"] for row in rows if "evaluation/accuracy" in row} == {
        record["step"] for record in records(run_dir, "evaluation")
    }
    aliases = {alias for path in runs for names, _ in artifacts_of(path) for alias in names}
    assert {"best", "latest", f"step-{last}"} <= aliases
    assert {record["untracked_records"] for record in records(run_dir, "train")} == {0}


def test_tensorboard_shows_each_step_of_a_resumed_run_once(circles, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run_dir = tmp_path / "run"
    options = ("--tracking", "tensorboard")
    process = start_warm(*train(circles, run_dir, *LONG, *options))
    process.kill()  # without a checkpoint: all of it is done again
    process.communicate(timeout=300)
    run_warm_ok(*train(circles, run_dir, *options))
    events = EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()
    shown = [(event.step, event.value) for event in events.Scalars("loss/generator")]
    expected = losses(run_dir)
    assert [step for step, _ in shown] == list(expected)
    assert all(abs(value - expected[step]) < 1e-6 for step, value in shown)


def test_tracking_changes_nothing_but_what_is_seen(finished_run_with_samples, circles, tmp_path):
    options = (*SAMPLED, "--tracking", "wandb")
    run_warm_ok(*train(circles, tmp_path / "tracked", *options), WANDB_MODE="offline")
    assert outcome(tmp_path / "tracked") == outcome(finished_run_with_samples)


def test_no_key_is_one_line_and_no_question_even_at_a_terminal(circles, tmp_path):
    """Real wandb would ask "(1) Create a W&B account" here, and wait for ever."""
    run_dir = tmp_path / "run"
    terminal, end = pty.openpty()
    arguments = map(str, train(circles, run_dir, "--tracking", "wandb"))
    env = environment(HOME=str(tmp_path), NETRC=str(tmp_path / "none"))
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=env, stdin=end, stdout=end, stderr=end
    )
    os.close(end)
    output = b"".join(chunks(terminal)).decode()
    assert process.wait(timeout=300) == 0, output
    (line,) = [line for line in output.splitlines() if "is not reachable" in line]
    assert "no key: set WANDB_API_KEY" in line
    assert "wandb sync" in line
    assert "Create a W&B account" not in output
    assert tracked_losses(run_dir) == losses(run_dir)


def chunks(descriptor: int) -> Iterator[bytes]:
    """Yield what comes from a terminal until its other end is closed."""
    while True:
        try:
            yield os.read(descriptor, 4096)
        except OSError:
            return


@contextmanager
def silent_server() -> Iterator[str]:
    """A server that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def test_a_server_that_refuses_or_never_answers(circles, tmp_path):
    """The run is as quick as without it, and all of it is there to be sent later."""
    with silent_server() as silent:
        for name, url in {"refuses": "http://127.0.0.1:9", "silent": silent}.items():
            run_dir = tmp_path / name
            result = run_warm_ok(
                *train(circles, run_dir, "--tracking", "wandb"), **NO_SERVER, WANDB_BASE_URL=url
            )
            complete = result.stderr.index("complete at step 12")
            assert complete < result.stderr.index("wandb is not reachable"), "training waited"
            assert tracked_losses(run_dir) == losses(run_dir)
            assert len(losses(run_dir)) == 6
