"""Commands in processes of their own that do not pay for importing PyTorch again.

They are forked from a server that has imported it. What is proven of whole commands (start, stop,
kill, import times) runs cold, by `commands.run`; what they answer may be asked here.
"""

import multiprocessing
import os
import resource
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.commands import ROOT, environment

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["t2vgan.pipeline", "t2vgan.training.trainer", "torch._dynamo"])


def run_warm(
    script: str,
    *arguments: object,
    cwd: Path = ROOT,
    timeout: float = 120,
    max_file_bytes: int | None = None,
    **extra: str,
) -> subprocess.CompletedProcess[str]:
    """Run a script of the checkout to its end and return it with its output as text."""
    with tempfile.TemporaryDirectory() as folder:
        streams = Path(folder, "stdout"), Path(folder, "stderr")
        command = [script, *map(str, arguments)]
        job = (command, streams, cwd, max_file_bytes, environment(**extra))
        process = SERVER.Process(target=become, args=job)
        process.start()
        process.join(timeout)
        assert process.exitcode is not None, f"{command} still runs after {timeout} s"
        output = [stream.read_text() for stream in streams]
    return subprocess.CompletedProcess(command, process.exitcode, *output)


def become(command, streams, cwd, max_file_bytes, variables) -> None:
    """Turn this process into the command's."""
    for descriptor, stream in enumerate(streams, start=1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_CREAT), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(variables)
    if max_file_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))
    sys.argv = command
    runpy.run_path(str(ROOT / command[0]), run_name="__main__")
