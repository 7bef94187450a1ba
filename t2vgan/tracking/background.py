"""A bounded queue and the thread that empties it into a tracker: whoever writes never waits."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Protocol

from t2vgan.tracking.metrics_log import Record

MAX_WAITING = 1000  # records: the metrics of some 20,000 steps
PATIENCE_SECONDS = 60.0  # at the end of a run; a server that is gone would take for ever

logger = logging.getLogger(__name__)


class Tracker(Protocol):
    """What a tracker must do; both may take as long and raise whatever they like."""

    def log(self, record: Record) -> None: ...

    def close(self) -> None: ...


class BackgroundTracker:
    """Hands records to a tracker in a thread; what it does not take is counted as dropped.

    `start` makes the tracker, in that thread. The first failure is said; the run goes on.
    """

    def __init__(
        self, name: str, start: Callable[[], Tracker], *, max_waiting: int = MAX_WAITING
    ) -> None:
        self.name = name
        self.num_dropped = 0
        self.counting = threading.Lock()
        self.records: queue.Queue[Record | None] = queue.Queue(max_waiting)
        self.thread = threading.Thread(
            target=self._work, args=[start], name=f"{name} outbox", daemon=True
        )
        self.thread.start()

    def put(self, record: Record) -> None:
        """Leave a record for the tracker; never waits, never raises."""
        try:
            self.records.put_nowait(record)
        except queue.Full:
            self._drop("it is too slow, its queue is full")

    def close(self, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Give the tracker some time to take what waits and to finish; say what it missed."""
        try:
            self.records.put(None, timeout=patience_seconds)
            self.thread.join(patience_seconds)
        except queue.Full:
            pass
        if self.thread.is_alive():
            message = "%s has not finished after %.0f s; the run does not wait for it"
            logger.warning(message, self.name, patience_seconds)
            self._drop("it has not finished", sum(1 for r in list(self.records.queue) if r))
        if self.num_dropped:
            message = "%s missed %d records; metrics.jsonl has them all"
            logger.warning(message, self.name, self.num_dropped)

    def _work(self, start: Callable[[], Tracker]) -> None:
        try:
            tracker = start()
        except Exception as error:  # whatever a tracker does, the run goes on
            logger.warning("%s did not start (%s); the run goes on", self.name, one_line(error))
            while self.records.get() is not None:
                self._drop("it did not start")
            return
        while (record := self.records.get()) is not None:
            try:
                tracker.log(record)
            except Exception as error:
                self._drop(one_line(error))
        try:
            tracker.close()
        except Exception as error:
            logger.warning("%s did not end cleanly (%s)", self.name, one_line(error))

    def _drop(self, reason: str, count: int = 1) -> None:
        with self.counting:
            is_first = self.num_dropped == 0
            self.num_dropped += count
        if is_first and count:
            message = "%s did not take a record (%s); the run goes on, metrics.jsonl has them all"
            logger.warning(message, self.name, reason)


def one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
