"""Decode in a child process, so that a crash costs one row.

The child may crash, hang or run out of memory. It cannot write files and ignores Ctrl-C. Its
answers are read as JSON and bytes, never unpickled, because it has opened untrusted files.
"""

import json
import logging
import multiprocessing
import resource
import signal
import time
from collections.abc import Generator
from multiprocessing.connection import Connection

from t2vgan.data.pixel_sums import PixelSums
from t2vgan.data.shards import EncodedSample

from ..build.protocol import BuildStopped, ShouldStop
from ..build.worker_pool import serving_parent
from .clips import RowTask, make_clips
from .settings import PackSettings, VideoError

POLL_SECONDS = 0.1
START_SECONDS = 300.0  # importing the decoders, on a very busy machine
MAX_ANSWER_BYTES = 1 << 30


class Sandbox:
    """Turn rows into clips in a child process, restarted after each crash."""

    def __init__(self, settings: PackSettings):
        self._settings = settings
        self._child: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def make_clips(self, task: RowTask, should_stop: ShouldStop) -> Generator[EncodedSample]:
        """Yield a row's clips; raise VideoError, or BuildStopped on request.

        The time limit applies from one clip to the next.
        """
        pipe = self._ready_pipe(should_stop)
        limit = self._settings.limits.timeout_seconds
        try:
            pipe.send(task)
            self._await(pipe, limit, should_stop)
            while (sample := _receive(pipe)) is not None:
                yield sample
                self._await(pipe, limit, should_stop)
        except TimeoutError:
            self.close()
            raise VideoError("timeout", f"no clip for {limit:g} seconds") from None
        except (EOFError, ConnectionError):
            code = format_exit_code(self._exit_code())
            raise VideoError("crash", f"the decoder's process died ({code})") from None
        except BaseException as error:
            if not isinstance(error, VideoError):  # the pipe still holds answers
                self.close()
            raise

    def close(self) -> None:
        """Kill the child."""
        if self._child is not None:
            self._child.kill()
            self._child.join()
            self._child.close()
        if self._pipe is not None:
            self._pipe.close()
        self._child = self._pipe = None

    def _ready_pipe(self, should_stop: ShouldStop) -> Connection:
        if self._pipe is None or self._child is None or not self._child.is_alive():
            self.close()
            context = multiprocessing.get_context("spawn")
            self._pipe, theirs = context.Pipe()
            arguments = (theirs, self._settings)
            self._child = context.Process(target=_serve, args=arguments, daemon=True)
            self._child.start()
            theirs.close()
            self._await(self._pipe, START_SECONDS, should_stop)
            self._pipe.recv_bytes()
        return self._pipe

    def _await(self, pipe: Connection, seconds: float, should_stop: ShouldStop) -> None:
        deadline = time.monotonic() + seconds
        while not pipe.poll(POLL_SECONDS):
            if should_stop():
                raise BuildStopped
            if time.monotonic() > deadline:
                raise TimeoutError

    def _exit_code(self) -> int | None:
        assert self._child is not None
        self._child.join(5)
        code = self._child.exitcode
        self.close()
        return code


def _receive(pipe: Connection) -> EncodedSample | None:
    """Return the next clip, or None after the last.

    Raises VideoError if the row fails.
    """
    answer = json.loads(pipe.recv_bytes(MAX_ANSWER_BYTES))
    if "reason" in answer:
        raise VideoError(answer["reason"], answer["message"])
    if "key" not in answer:
        return None
    members = {name: pipe.recv_bytes(MAX_ANSWER_BYTES) for name in answer["members"]}
    return EncodedSample(answer["key"], members, PixelSums.model_validate(answer["pixel_sums"]))


def format_exit_code(code: int | None) -> str:
    """Format how a process ended: its exit code or signal."""
    if code is None or code >= 0:
        return f"exit code {code}"
    return f"signal {signal.Signals(-code).name}"


# ---- in the child ------------------------------------------------------------------------------


def _serve(pipe: Connection, settings: PackSettings) -> None:
    """Serve requests until the parent closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    logging.disable()  # the failure already holds what FFmpeg would log
    with serving_parent():
        _import_codecs()
        limit_resources(settings.limits.memory_mb)
        pipe.send_bytes(b"ready")
        while True:
            _answer(pipe, pipe.recv(), settings)


def _answer(pipe: Connection, task: RowTask, settings: PackSettings) -> None:
    """Send a row's clips, then how it ended."""
    try:
        for sample in make_clips(task, settings):
            _send(pipe, sample)
        last: dict[str, str] = {}
    except Exception as error:  # decoders raise all kinds of exceptions on damaged files
        reason, text = _classify(error)
        last = {"reason": reason, "message": text}
    pipe.send_bytes(json.dumps(last).encode())


def _send(pipe: Connection, sample: EncodedSample) -> None:
    """Send a clip: first its description, then its members."""
    assert sample.pixel_sums is not None
    sums = sample.pixel_sums.model_dump()
    header = {"key": sample.key, "members": list(sample.members), "pixel_sums": sums}
    pipe.send_bytes(json.dumps(header).encode())
    for data in sample.members.values():
        pipe.send_bytes(data)


def _classify(error: Exception) -> tuple[str, str]:
    from av.error import FFmpegError

    text = " ".join(str(error).split())[:300] or type(error).__name__
    if isinstance(error, VideoError):
        return error.reason, text
    if isinstance(error, MemoryError):
        return "memory", "more memory than --memory-mb allows"
    if isinstance(error, FFmpegError):
        return "decode", error.strerror or text
    if isinstance(error, OSError):
        return "unreadable", error.strerror or text
    return "decode", f"{type(error).__name__}: {text}"


def _import_codecs() -> None:
    """Import the libraries before memory is limited."""
    import av
    import cv2
    from PIL import Image

    Image.init()  # loads its formats
    av.logging.set_level(None)
    cv2.setNumThreads(1)


def limit_resources(memory_mb: int) -> None:
    """Limit memory beyond what libraries hold, and forbid writing files."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        with open("/proc/self/statm") as file:
            held = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # systems without /proc do not enforce RLIMIT_AS either
        return
    total = held + (memory_mb << 20)
    resource.setrlimit(resource.RLIMIT_AS, (total, total))
