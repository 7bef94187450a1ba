"""How a run is told to stop: signals, and the death of its launcher; asked at step boundaries."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# USR1 is what Slurm is usually told to send ahead of its time limit (--signal=USR1@60).
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class StopFlag:
    """Set by a signal or by the death of the process that started this one."""

    def __init__(self, launcher: int | None = None) -> None:
        self.reason = ""
        self.launcher = launcher or os.getppid()
        self.is_saving = False

    def is_set(self) -> bool:
        """Return whether this process was asked to stop."""
        if not self.reason and os.getppid() != self.launcher:
            self.reason = "the launcher died"
        return bool(self.reason)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        name = signal.Signals(number).name
        if self.is_saving:
            print(f"\n{name}: already saving, one moment", file=sys.stderr)
        elif not self.reason:
            print(f"\n{name}: saving after this step (Ctrl-C again gives up)", file=sys.stderr)
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        self.reason = self.reason or name


@contextmanager
def stop_on_signals(launcher: int | None = None) -> Iterator[StopFlag]:
    """Turn the stop signals into a flag for as long as the context lasts.

    `launcher` is the parent process as it was when this process began, if that is known. A second
    Ctrl-C gives up at once, except while the last checkpoint is being saved.
    """
    flag = StopFlag(launcher)
    before = [signal.signal(number, flag._on_signal) for number in STOP_SIGNALS]
    try:
        yield flag
    finally:
        for number, handler in zip(STOP_SIGNALS, before, strict=True):
            signal.signal(number, handler)
