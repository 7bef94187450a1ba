"""Turn stop signals and the launcher's death into a flag.

The trainer checks it after each step."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from t2vgan.utils.console import print_stderr

# Slurm is usually configured to send USR1 ahead of its time limit (--signal=USR1@60); a closing
# terminal sends HUP.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
# A terminal sends Ctrl-C to all foreground processes, and a launcher among them forwards it: SIGINT
# is a second Ctrl-C only if it comes later than this.
GIVE_UP_AFTER_SECONDS = 2.0
LAUNCHER_VARIABLES = ("WORLD_SIZE", "ACCELERATE_MIXED_PRECISION")


def find_launcher() -> int | None:
    """Return the process id of torchrun or accelerate, if one started this.

    The launcher's death must stop its workers; the exit of a shell must not, as with nohup.
    """
    return os.getppid() if any(name in os.environ for name in LAUNCHER_VARIABLES) else None


class StopFlag:
    """A flag set by a signal or by the launcher's death."""

    def __init__(self, launcher: int | None = None) -> None:
        self.reason = ""
        self.launcher = launcher
        self.is_saving = False
        self.interrupted_at: float | None = None
        """Time of the first Ctrl-C."""

    def start_saving(self) -> None:
        """Answer later signals by saying that this process is already saving."""
        self.is_saving = True

    def is_set(self) -> bool:
        """Return whether this process was asked to stop."""
        if not self.reason and self.launcher not in (None, os.getppid()):
            self.reason = "the launcher died"
        return bool(self.reason)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        is_first, self.reason = not self.reason, self.reason or name
        gives_up = number == signal.SIGINT and self._is_repeated()
        if self.is_saving:
            print_stderr(f"\n{name}: already saving; please wait")
        elif gives_up:
            raise KeyboardInterrupt
        else:
            verb = "saving" if is_first else "still saving"
            print_stderr(f"\n{name}: {verb} after this step (a later Ctrl-C quits without saving)")

    def _is_repeated(self) -> bool:
        """Return whether this is a second Ctrl-C, after GIVE_UP_AFTER_SECONDS."""
        now = time.monotonic()
        if self.interrupted_at is None:
            self.interrupted_at = now
        return now - self.interrupted_at > GIVE_UP_AFTER_SECONDS


@contextmanager
def stop_on_signals(launcher: int | None = None) -> Iterator[StopFlag]:
    """Turn stop signals into a flag until the context ends.

    `launcher` is what `find_launcher` returned when this process began. A second Ctrl-C, later than
    GIVE_UP_AFTER_SECONDS, stops at once, except while the last checkpoint is being saved; other
    signals never do. Under nohup, SIGHUP stays ignored.
    """
    flag = StopFlag(launcher)
    nohup = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    handled = [number for number in STOP_SIGNALS if number != signal.SIGHUP or not nohup]
    before = [signal.signal(number, flag._on_signal) for number in handled]
    try:
        yield flag
    finally:
        for number, handler in zip(handled, before, strict=True):
            signal.signal(number, handler)
