"""Record in a child process, which owns the game engine's process.

Both form a process group with its own folder, where the engine leaves its settings. The group ends
when its parent ends, in whatever way, or after a time limit.
"""

import multiprocessing
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from multiprocessing.connection import Connection
from pathlib import Path

from t2vgan.errors import UserError

from .engine import Engine
from .recording import EpisodeOrder, RecordedClip, record_clip

START_SECONDS = 300.0  # on a very busy machine
CLIP_SECONDS = 120.0
CONFIG = "engine.ini"
CONTINUE = "run the same command again to continue"


class Recorder:
    """Record episodes in a child process, restarted after a failure."""

    def __init__(self, clip_seconds: float = CLIP_SECONDS):
        """Set the time limit of a clip with its rejected tries."""
        self._clip_seconds = clip_seconds
        self._child: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def record(self, order: EpisodeOrder) -> Iterator[RecordedClip]:
        """Yield the wanted clips of an episode, in order.

        Raises UserError if the engine dies or hangs, or if a level has no room.
        """
        try:
            pipe = self._ready_pipe()
            pipe.send(order)
            for clip in order.clips:
                answer = self._receive(pipe, self._clip_seconds, order.level)
                if isinstance(answer, str):
                    raise UserError(answer)
                if clip.wanted:
                    yield answer
        except BaseException:  # pending answers would be read as the next episode's
            self.close()
            raise

    def close(self) -> None:
        """Kill the child and the engine."""
        if self._child is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._child.pid or 0, signal.SIGKILL)
            self._child.kill()  # in case it had no group yet
            self._child.join()
            self._child.close()
        if self._pipe is not None:
            self._pipe.close()
        if self._folder is not None:
            self._folder.cleanup()
        self._child = self._pipe = self._folder = None

    def _ready_pipe(self) -> Connection:
        if self._pipe is None:
            context = multiprocessing.get_context("spawn")
            self._folder = tempfile.TemporaryDirectory(prefix="t2vgan-game-")
            self._pipe, theirs = context.Pipe()
            arguments = (theirs, self._folder.name)
            self._child = context.Process(target=_serve, args=arguments, daemon=True)
            self._child.start()
            theirs.close()
            self._receive(self._pipe, START_SECONDS, "not loaded yet")
        return self._pipe

    def _receive(self, pipe: Connection, seconds: float, level: str) -> RecordedClip | str:
        try:
            if not pipe.poll(seconds):
                raise UserError(
                    f"the game engine made no clip within {seconds:g} seconds (level {level}); "
                    + CONTINUE
                )
            return pipe.recv()
        except (EOFError, ConnectionError):
            raise UserError(f"the game engine's process died (level {level}); {CONTINUE}") from None


@lru_cache(maxsize=1)
def shared_recorder() -> Recorder:
    """Return this process's recorder, kept because starting one is slow."""
    return Recorder()


# ---- in the child ------------------------------------------------------------------------------


def _serve(pipe: Connection, folder: str) -> None:
    """Record until the parent closes the pipe."""
    os.setpgid(0, 0)
    os.set_inheritable(pipe.fileno(), False)  # an inherited pipe would hide this process's end
    signal.signal(signal.SIGTERM, lambda number, frame: _kill_group())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.chdir(folder)  # the engine makes a folder in the working directory
    import cv2

    cv2.setNumThreads(1)
    engine: Engine | None = None
    pipe.send("ready")
    while True:
        try:
            order: EpisodeOrder = pipe.recv()
        except EOFError:
            _kill_group()
        try:
            if engine is None:
                engine = Engine(Path(CONFIG), order.level)
                threading.Thread(target=_end_with_engine, daemon=True).start()
            engine.start_episode(order.level, order.seed)
            for clip in order.clips:
                recorded = record_clip(engine, clip, order.level, order.geometry)
                pipe.send(recorded if clip.wanted else None)
        except (BrokenPipeError, ConnectionResetError):  # the parent was killed
            _kill_group()
        except UserError as error:
            pipe.send(str(error))
        except Exception as error:  # ViZDoom raises many types
            pipe.send(f"the game engine failed (level {order.level}): {error}; {CONTINUE}")


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    _kill_group()


def _end_with_engine() -> None:
    """End this process when the engine, its only child, ends.

    ViZDoom itself might wait for it forever.
    """
    with suppress(ChildProcessError):  # ViZDoom has already reaped it
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
    _kill_group()


def _kill_group() -> None:
    os.killpg(0, signal.SIGKILL)
