"""Send records to a tracker in a thread, through a bounded queue."""

import logging
import queue
import threading
from collections.abc import Callable
from typing import Protocol

from t2vgan.tracking.metrics_log import Record

MAX_QUEUED = 1000  # records, enough for about 20,000 steps
CLOSE_TIMEOUT_SECONDS = 60.0  # at the end of a run, as a server may never answer

logger = logging.getLogger(__name__)


class Tracker(Protocol):
    """A tracker's methods; both may be slow and raise anything."""

    def log(self, record: Record) -> None: ...

    def close(self) -> None: ...


class BackgroundTracker:
    """Queue records for a tracker in a thread, and count dropped ones.

    `start` creates the tracker in that thread. The first failure is logged; the run continues.
    """

    def __init__(
        self, name: str, start: Callable[[], Tracker], *, max_queued: int = MAX_QUEUED
    ) -> None:
        self.name = name
        self.num_dropped = 0
        self.lock = threading.Lock()
        self.records: queue.Queue[Record | None] = queue.Queue(max_queued)
        self.thread = threading.Thread(
            target=self._run, args=[start], name=f"{name} tracker", daemon=True
        )
        self.thread.start()

    def put(self, record: Record) -> None:
        """Queue a record, without ever waiting or raising."""
        try:
            self.records.put_nowait(record)
        except queue.Full:
            self._drop("it is too slow; its queue is full")

    def close(self, timeout_seconds: float = CLOSE_TIMEOUT_SECONDS) -> None:
        """Wait for the tracker up to a timeout; log the dropped records."""
        try:
            self.records.put(None, timeout=timeout_seconds)
            self.thread.join(timeout_seconds)
        except queue.Full:
            pass
        if self.thread.is_alive():
            message = "%s has not finished after %.0f s; the run does not wait for it"
            logger.warning(message, self.name, timeout_seconds)
            self._drop("it has not finished", sum(1 for r in list(self.records.queue) if r))
        if self.num_dropped:
            message = "%s missed %d records; metrics.jsonl has them all"
            logger.warning(message, self.name, self.num_dropped)

    def _run(self, start: Callable[[], Tracker]) -> None:
        try:
            tracker = start()
        except Exception as error:  # a tracker must not stop the run
            logger.warning("%s did not start (%s); the run continues", self.name, one_line(error))
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
            logger.warning("%s did not close cleanly (%s)", self.name, one_line(error))

    def _drop(self, reason: str, count: int = 1) -> None:
        with self.lock:
            is_first = self.num_dropped == 0
            self.num_dropped += count
        if is_first and count:
            message = "%s missed a record (%s); the run continues, and metrics.jsonl has them all"
            logger.warning(message, self.name, reason)


def one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"
