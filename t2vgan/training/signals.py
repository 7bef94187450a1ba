"""Turn stop signals and the launcher's death into a flag.

The trainer reads it after each step."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from t2vgan.utils.console import print_stderr

# USR1 is what Slurm is usually configured to send ahead of its time limit (--signal=USR1@60); HUP
# comes from a terminal that closes.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
# After the first one: a terminal sends Ctrl-C to each process of its foreground, and a launcher
# among them passes it on.
GIVE_UP_AFTER_SECONDS = 2.0
LAUNCHER_VARIABLES = ("WORLD_SIZE", "ACCELERATE_MIXED_PRECISION")


def find_launcher() -> int | None:
    """Return the process id of torchrun or accelerate, if one started this.

    The launcher's death must stop its workers. A shell may exit: that is what nohup is for.
    """
    return os.getppid() if any(name in os.environ for name in LAUNCHER_VARIABLES) else None


class StopFlag:
    """Set by a signal or by the death of the launcher."""

    def __init__(self, launcher: int | None = None) -> None:
        self.reason = ""
        self.launcher = launcher
        self.is_saving = False
        self.interrupted_at: float | None = None
        """When the first Ctrl-C came."""

    def start_saving(self) -> None:
        """Let signals say that this process is already saving."""
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
            print_stderr(f"\n{name}: already saving, one moment")
        elif gives_up:
            raise KeyboardInterrupt
        else:
            verb = "saving" if is_first else "still saving"
            print_stderr(f"\n{name}: {verb} after this step (Ctrl-C again later gives up)")

    def _is_repeated(self) -> bool:
        """Return whether a Ctrl-C follows another one, and not at once."""
        now = time.monotonic()
        if self.interrupted_at is None:
            self.interrupted_at = now
        return now - self.interrupted_at > GIVE_UP_AFTER_SECONDS


@contextmanager
def stop_on_signals(launcher: int | None = None) -> Iterator[StopFlag]:
    """Turn stop signals into a flag until the context ends.

    `launcher` is what `find_launcher` returned when this process began. A second Ctrl-C, later than
    GIVE_UP_AFTER_SECONDS, gives up at once, except while the last checkpoint is being saved; no
    other signal does. Under nohup, SIGHUP stays ignored.
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
