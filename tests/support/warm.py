"""Commands in processes of their own that do not pay for their imports again.

They are forked from a server that has imported the libraries. What is proven of whole commands
(start, stop, kill, import times) runs cold, by `commands.run`; what they answer is asked here.
"""

import multiprocessing
import os
import resource
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from tests.support.commands import ROOT, environment

SERVER = multiprocessing.get_context("forkserver")
# Not the commands themselves: they run as `__main__`, each time from its file.
PRELOADED = [
    *("t2vgan.pipeline", "data_tools.build.runner", "data_tools.build.worker_pool"),
    *("data_tools.videos.plan", "data_tools.videos.sources", "data_tools.videos.sandbox", "av"),
]
SERVER.set_forkserver_preload(PRELOADED)


def preload(*modules: str) -> None:
    """Import more into the server; called before its first command."""
    PRELOADED.extend(modules)
    SERVER.set_forkserver_preload(PRELOADED)


def run_warm(
    *command: object,
    cwd: Path = ROOT,
    timeout: float = 120,
    max_file_bytes: int | None = None,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `SCRIPT ...` or `-m MODULE ...` to its end and return it with its output as text."""
    arguments = [str(part) for part in command]
    if variables is None:
        variables = environment()
    with tempfile.TemporaryDirectory() as folder:
        streams = Path(folder, "stdout"), Path(folder, "stderr")
        job = (arguments, streams, cwd, max_file_bytes, dict(variables))
        process = SERVER.Process(target=become, args=job)
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired(arguments, timeout)
        output = [stream.read_text() for stream in streams]
    return subprocess.CompletedProcess(arguments, process.exitcode, *output)


def run_warm_ok(*command: object) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed."""
    result = run_warm(*command)
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def become(command, streams, cwd, max_file_bytes, variables) -> None:
    """Turn this process into the command's."""
    for descriptor, stream in enumerate(streams, start=1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    if max_file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    if command[0] == "-m":
        sys.argv = command[1:]
        runpy.run_module(command[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = command
        runpy.run_path(str(ROOT / command[0]), run_name="__main__")
