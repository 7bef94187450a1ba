"""A deadline shared by several waits and calls that cannot be interrupted."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

GRACE_SECONDS = 1.0  # let torch's own timeout expire first: its message is more specific

T = TypeVar("T")


class Deadline:
    """A point in time shared by several waits."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until the deadline; 0 after it."""
        return max(0.0, self.end - time.monotonic())


def call_before(deadline: Deadline, function: Callable[[], T]) -> T:
    """Return a function's result, or stop waiting at the deadline.

    The call runs in its own thread, which is abandoned at the deadline: torch connects in C++,
    where neither a signal nor torch's timeout ends the wait for a server that accepts the
    connection and stays silent.

    Raises:
        TimeoutError: the function did not return in time.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="before the deadline", daemon=True).start()
    return future.result(deadline.left + GRACE_SECONDS)
