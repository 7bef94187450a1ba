"""Turn stop signals and the launcher's death into a flag.

The trainer reads it after each step."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from t2vgan.utils.console import print_stderr

# USR1 is what Slurm is usually configured to send ahead of its time limit (--signal=USR1@60); HUP
# comes from a terminal that closes.
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
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

    def is_set(self) -> bool:
        """Return whether this process was asked to stop."""
        if not self.reason and self.launcher not in (None, os.getppid()):
            self.reason = "the launcher died"
        return bool(self.reason)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        is_first, self.reason = not self.reason, self.reason or name
        if self.is_saving:
            print_stderr(f"\n{name}: already saving, one moment")
        elif is_first:
            print_stderr(f"\n{name}: saving after this step (Ctrl-C again gives up)")
        elif number == signal.SIGINT:
            raise KeyboardInterrupt


@contextmanager
def stop_on_signals(launcher: int | None = None) -> Iterator[StopFlag]:
    """Turn stop signals into a flag until the context ends.

    `launcher` is what `find_launcher` returned when this process began. A second Ctrl-C gives up at
    once, except while the last checkpoint is being saved. Under nohup, SIGHUP stays ignored.
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
