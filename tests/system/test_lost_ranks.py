"""A peer dies: before training, or while the main thread waits as for a kernel of NCCL."""

import re
import shutil
import subprocess

import pytest

from t2vgan.checkpoint.storage import list_steps
from tests.support.commands import faulty, train
from tests.support.warm import run_ranks, start_ranks

EXIT_STOPPED = 3
TIMEOUT = 20
SPARE = 30  # for a busy machine
LONG = ("--train.num-steps", 100, "--timeout-seconds", TIMEOUT, "--train.micro-batch-size", 2)


def run_until_lost(world_size: int, *command: object) -> list[subprocess.CompletedProcess[str]]:
    """Run a command as each rank: the last one dies, the others end within the timeout."""
    processes = start_ranks(*[command] * world_size)
    processes[-1].wait(200)
    return [process.complete(TIMEOUT + SPARE) for process in processes]


@pytest.mark.parametrize("world_size", [2, 4])
def test_a_process_whose_main_thread_hangs_names_the_dead_rank(world_size, circles, tmp_path):
    """Its collective never returns: as on a GPU, where a kernel waits for the dead rank."""
    last, run_dir = world_size - 1, tmp_path / "run"
    faults = (f"kill@all reduce:13:{last}", *(f"hang@all reduce:13:{r}" for r in range(last)))
    *others, killed = run_until_lost(world_size, *faulty(faults, circles, run_dir, *LONG))
    assert killed.returncode < 0
    for other in others:
        assert other.returncode == EXIT_STOPPED, other.stderr
        (line,) = [line for line in other.stderr.splitlines() if line.startswith("stopped: ")]
        assert f"another process is gone or too slow; missing or slow: rank {last};" in line
        assert "the same command resumes from the last checkpoint" in line
        assert "Traceback" not in other.stderr
    assert list_steps(run_dir) == [4], "what was saved before step 6"


@pytest.mark.parametrize("option", ["--data.verify-checksums", "--dry-run"])
def test_a_process_whose_peer_dies_before_training_says_so(option, circles, tmp_path):
    command = faulty("kill@opening data:1:1", circles, tmp_path / "run", option)
    first, _ = run_ranks(2, *command)
    assert first.returncode == EXIT_STOPPED, first.stderr
    (line,) = first.stderr.splitlines()
    assert line.startswith("stopped: another process is gone, or did not answer in time (")


def test_a_checkpoint_that_one_rank_cannot_load_is_named_with_that_rank(
    finished_run, circles, tmp_path
):
    run_dir = shutil.copytree(finished_run, tmp_path / "run")
    command = faulty("fail@loading:1:1", circles, run_dir, "--train.num-steps", 14)
    results = run_ranks(2, *command)
    assert [result.returncode for result in results] == [2, 2]
    (line,) = "".join(result.stderr for result in results).splitlines()
    assert re.fullmatch(r"error: rank 1 on \S+: broken on purpose", line)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--train.frames-per-clip", 9), "train.frames_per_clip=9 must be at most the 6 frames"),
        (("--model.patch-size", 16), "must be a multiple of"),
    ],
)
def test_a_mistake_of_all_ranks_is_printed_once(options, expected, circles, tmp_path):
    results = run_ranks(2, *train(circles, tmp_path / "run", *options))
    assert [result.returncode for result in results] == [2, 2]
    (line,) = "".join(result.stderr for result in results).splitlines()
    assert expected in line


def test_nothing_is_saved_after_a_collective_that_was_aborted(circles, tmp_path):
    """Every sum of rank 0 with the dead rank ends at once, without an error and without a sum."""
    run_dir = tmp_path / "run"
    faults = ("kill@all reduce:13:1", "skip@all reduce:13-999:0")
    first, _ = run_until_lost(2, *faulty(faults, circles, run_dir, *LONG))
    assert first.returncode == EXIT_STOPPED, first.stderr
    assert "missing or slow: rank 1;" in first.stderr
    assert list_steps(run_dir) == [4]
