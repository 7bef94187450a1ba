"""A peer dies while this process's main thread waits without end, as for a kernel of NCCL."""

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from t2vgan.checkpoint.storage import list_steps
from tests.support.commands import ROOT, environment, faulty, free_port

EXIT_STOPPED = 3
TIMEOUT = 20
LONG = ("--train.num-steps", 100, "--timeout-seconds", TIMEOUT, "--train.micro-batch-size", 2)


def run_ranks(world_size: int, command: tuple, folder: Path) -> list[tuple[int, str]]:
    """Run a process of each rank as a launcher would; return its code and stderr."""
    variables = {"WORLD_SIZE": str(world_size), "MASTER_ADDR": "localhost"}
    variables["MASTER_PORT"] = str(free_port())
    with ExitStack() as stack:
        processes = []
        for rank in range(world_size):
            file = stack.enter_context(open(folder / f"stderr_{rank}", "w"))
            own = variables | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            arguments = [sys.executable, *map(str, command)]
            processes.append(
                subprocess.Popen(arguments, cwd=ROOT, env=environment(**own), stderr=file)
            )
            stack.callback(processes[-1].kill)
        processes[-1].wait(200)
        for process in processes:  # within the timeout, and what starting Python takes
            process.wait(TIMEOUT + 10)
    texts = [(folder / f"stderr_{rank}").read_text() for rank in range(world_size)]
    return [(process.returncode, text) for process, text in zip(processes, texts, strict=True)]


@pytest.mark.parametrize("world_size", [2, 4])
def test_a_process_whose_main_thread_hangs_names_the_dead_rank(world_size, circles, tmp_path):
    """Its collective never returns: as on a GPU, where a kernel waits for the dead rank."""
    last, run_dir = world_size - 1, tmp_path / "run"
    faults = (f"kill@all reduce:13:{last}", *(f"hang@all reduce:13:{r}" for r in range(last)))
    *others, killed = run_ranks(world_size, faulty(faults, circles, run_dir, *LONG), tmp_path)
    assert killed[0] < 0
    for code, stderr in others:
        assert code == EXIT_STOPPED, stderr
        (line,) = [line for line in stderr.splitlines() if line.startswith("stopped: ")]
        assert f"another process is gone or too slow; missing or slow: rank {last};" in line
        assert "the same command resumes from the last checkpoint" in line
        assert "Traceback" not in stderr
    assert list_steps(run_dir) == [4], "what was saved before step 6"


def test_nothing_is_saved_after_a_collective_that_was_aborted(circles, tmp_path):
    """Every sum of rank 0 with the dead rank ends at once, without an error and without a sum."""
    run_dir = tmp_path / "run"
    faults = ("kill@all reduce:13:1", "skip@all reduce:13-999:0")
    (code, stderr), _ = run_ranks(2, faulty(faults, circles, run_dir, *LONG), tmp_path)
    assert code == EXIT_STOPPED, stderr
    assert "missing or slow: rank 1;" in stderr
    assert list_steps(run_dir) == [4]
