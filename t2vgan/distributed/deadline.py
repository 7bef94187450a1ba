"""One deadline for several waits, also for calls that cannot be interrupted."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

GRACE_SECONDS = 1.0  # torch's own timeout comes first: its message says more

T = TypeVar("T")


class Deadline:
    """A point of time that several waits share."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until the deadline; 0 after it."""
        return max(0.0, self.end - time.monotonic())


def call_before(deadline: Deadline, function: Callable[[], T]) -> T:
    """Return a function's result, or stop waiting at the deadline.

    The call has a thread of its own, which is left behind: torch connects in C++, where neither a
    signal nor its own timeout ends a wait for a server that accepts and stays silent.

    Raises:
        TimeoutError: it did not return in time.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="before the deadline", daemon=True).start()
    return future.result(deadline.left + GRACE_SECONDS)
