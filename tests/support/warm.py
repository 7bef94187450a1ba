"""Commands in processes of their own that do not pay for their imports again.

They are forked from a server that has imported the libraries. What is proven of launchers and of
the start of a process (import times, a closed terminal) runs cold, by `commands.run`; what the
commands themselves do is asked here.
"""

import atexit
import multiprocessing
import os
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tests.support.commands import ROOT, environment, free_port

SERVER = multiprocessing.get_context("forkserver")
# Not the commands themselves: they run as `__main__`, each time from its file.
PRELOADED = [
    *("t2vgan.pipeline", "data_tools.build.runner", "data_tools.build.worker_pool"),
    *(
        "data_tools.videos.plan",
        "data_tools.videos.input_list.sources",
        "data_tools.videos.sandbox",
        "av",
    ),
]
SERVER.set_forkserver_preload(PRELOADED)


def preload(*modules: str) -> None:
    """Import more into the server; called before its first command."""
    PRELOADED.extend(modules)
    SERVER.set_forkserver_preload(PRELOADED)


STARTED: list["WarmProcess"] = []


@atexit.register
def kill_what_still_runs() -> None:
    """End what a failed test left behind; `multiprocessing` would wait for it."""
    for process in STARTED:
        process.kill()


class WarmProcess:
    """A running `SCRIPT ...` or `-m MODULE ...`, with what tests use of `subprocess.Popen`."""

    def __init__(
        self,
        command: Sequence[object],
        variables: Mapping[str, str],
        cwd: Path = ROOT,
        max_file_bytes: int | None = None,
    ) -> None:
        self.args = [str(part) for part in command]
        self._folder = tempfile.TemporaryDirectory()
        self._streams = [Path(self._folder.name, name) for name in ("stdout", "stderr")]
        for stream in self._streams:
            stream.touch()
        job = (self.args, self._streams, cwd, max_file_bytes, dict(variables))
        self._process = SERVER.Process(target=become, args=job)
        self._process.start()
        self.pid = self._process.pid
        STARTED.append(self)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        with suppress(ProcessLookupError):  # as `Popen`: it may just have ended
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self._process.kill()

    def wait_for(self, text: str, timeout: float = 300) -> None:
        """Wait until it has written a text to stderr; it must not end before."""
        deadline = time.monotonic() + timeout
        while text not in (shown := self._streams[1].read_text()):
            assert self.poll() is None, f"it ended before {text!r}: {shown}"
            assert time.monotonic() < deadline, f"no {text!r} in {timeout} s: {shown}"
            time.sleep(0.01)

    def communicate(self, timeout: float = 300) -> tuple[str, str]:
        """Wait for its end and return all that it wrote to stdout and stderr; called once."""
        try:
            self.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
        STARTED.remove(self)
        stdout, stderr = (stream.read_text() for stream in self._streams)
        self._folder.cleanup()
        return stdout, stderr

    def complete(self, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        """Wait for its end and return how it ended."""
        output = self.communicate(timeout)
        return subprocess.CompletedProcess(self.args, self.returncode, *output)


def run_warm(
    *command: object,
    cwd: Path = ROOT,
    timeout: float = 300,
    max_file_bytes: int | None = None,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end and return it with its output as text."""
    variables = environment() if variables is None else variables
    return WarmProcess(command, variables, cwd, max_file_bytes).complete(timeout)


def run_warm_ok(*command: object, **extra: str) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed, with these variables too."""
    return check(run_warm(*command, variables=environment(**extra)))


def start_warm(*command: object, **extra: str) -> WarmProcess:
    """Start a training command and return when it has trained six steps."""
    process = WarmProcess(command, environment(**extra))
    process.wait_for("\nstep 6/")
    return process


def start_ranks(*commands: Sequence[object], **extra: str) -> list[WarmProcess]:
    """Start a command as each rank, as a launcher does; nobody ends them when one has failed."""
    variables = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    variables["WORLD_SIZE"] = variables["LOCAL_WORLD_SIZE"] = str(len(commands))
    return [
        WarmProcess(command, environment(**variables, RANK=str(n), LOCAL_RANK=str(n), **extra))
        for n, command in enumerate(commands)
    ]


def run_ranks(
    world_size: int, *command: object, timeout: float = 300, **extra: str
) -> list[subprocess.CompletedProcess[str]]:
    """Run the same command as each rank to their ends, and return how they ended."""
    started = start_ranks(*[command] * world_size, **extra)
    return [process.complete(timeout) for process in started]


def run_ranks_ok(world_size: int, *command: object, **extra: str) -> str:
    """Run ranks that must succeed; return what they wrote to stderr."""
    return "".join(check(result).stderr for result in run_ranks(world_size, *command, **extra))


def check(result: subprocess.CompletedProcess[str]) -> subprocess.CompletedProcess[str]:
    assert result.returncode == 0, result.stdout + result.stderr
    return result


def become(command, streams, cwd, max_file_bytes, variables) -> None:
    """Turn this process into the command's."""
    for descriptor, stream in enumerate(streams, start=1):
        os.dup2(os.open(stream, os.O_WRONLY | os.O_APPEND), descriptor)
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
