"""A peer dies while this process's main thread waits without end, as for a kernel of NCCL."""

import subprocess

import pytest

from t2vgan.checkpoint.storage import list_steps
from tests.support.commands import faulty
from tests.support.warm import start_ranks

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


def test_nothing_is_saved_after_a_collective_that_was_aborted(circles, tmp_path):
    """Every sum of rank 0 with the dead rank ends at once, without an error and without a sum."""
    run_dir = tmp_path / "run"
    faults = ("kill@all reduce:13:1", "skip@all reduce:13-999:0")
    first, _ = run_until_lost(2, *faulty(faults, circles, run_dir, *LONG))
    assert first.returncode == EXIT_STOPPED, first.stderr
    assert "missing or slow: rank 1;" in first.stderr
    assert list_steps(run_dir) == [4]
