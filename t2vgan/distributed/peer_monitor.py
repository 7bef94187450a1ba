"""End a process whose peers are gone, even if it hangs.

With NCCL, when a rank dies the kernels of the others never finish: their main threads hang in the
next device synchronization, and torch's watchdog ends the processes without naming the rank. So a
thread in every process exchanges a flag with those of all other ranks each second, over a separate
gloo group that never uses the device. There, a broken connection or a rank that does not answer is
noticed. If the main thread does not end by itself, as it does if its own collective fails, the
thread names the rank and ends the process.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from t2vgan.distributed.context import DistributedContext, is_lost_connection
from t2vgan.distributed.heartbeat import Heartbeat
from t2vgan.errors import RunStoppedError
from t2vgan.utils.cli import EXIT_STOPPED
from t2vgan.utils.console import first_line, format_error, print_stderr

EXCHANGE_EVERY_SECONDS = 1.0
ANSWER_SHARE = 0.5  # of the timeout: a rank that does not answer for so long counts as lost
GRACE_SHARE = 0.1  # of the timeout: time for the main thread to end by itself
RUNNING, FINISHED, FAILED = 0, 1, 2


class PeerMonitor:
    """Watch the other ranks in a thread inside the context.

    Entering is collective. `timeout_seconds` is the longest time from the end of a peer to the end
    of this process.
    """

    def __init__(
        self, context: DistributedContext, heartbeat: Heartbeat, timeout_seconds: float
    ) -> None:
        self.context, self.heartbeat = context, heartbeat
        self.timeout_seconds = timeout_seconds
        self.group: Any = None
        self.status = RUNNING
        self.ended = threading.Event()
        """Set when the main thread leaves the context."""
        self.loss = ""
        """Why a peer counts as lost; empty if none is."""
        self.thread = threading.Thread(target=self._run, name="peer monitor", daemon=True)

    def check(self) -> None:
        """Raise if a peer is lost: results of collectives are then invalid.

        Raises:
            RunStoppedError: naming the rank.
        """
        if self.loss:
            raise lost_rank_error(self.heartbeat, self.loss)

    def _run(self) -> None:
        while True:
            is_leaving = self.ended.wait(EXCHANGE_EVERY_SECONDS)
            statuses = torch.zeros(self.context.world_size, dtype=torch.int64)
            statuses[self.context.rank] = self.status
            try:
                dist.all_reduce(statuses, group=self.group)
            except RuntimeError as error:
                self.loss = str(error).partition("\n")[0]
                break
            failed = (statuses == FAILED).nonzero().flatten().tolist()
            if failed and not is_leaving:
                self.loss = f"rank {', '.join(map(str, failed))} failed"
                break
            if is_leaving or statuses.any():
                return
        if self.group:  # closing the connections lets the others notice too
            dist.destroy_process_group(self.group)
            self.group = None
        if not self.ended.wait(GRACE_SHARE * self.timeout_seconds):
            self._end_process()

    def _end_process(self) -> None:
        """Print the reason, and end the process although its main thread runs."""
        error = lost_rank_error(self.heartbeat, self.loss)
        if not self.ended.is_set():
            print_stderr(f"stopped: {format_error(error)}")
            os._exit(EXIT_STOPPED)

    def __enter__(self) -> "PeerMonitor":
        if self.context.is_distributed:
            self.group = self.context.new_cpu_group(ANSWER_SHARE * self.timeout_seconds)
            self.thread.start()
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        self.status = FAILED if error else FINISHED
        self.ended.set()
        if self.thread.is_alive():
            self.thread.join(ANSWER_SHARE * self.timeout_seconds)


@contextmanager
def report_lost_ranks(context: DistributedContext, heartbeat: Heartbeat) -> Iterator[None]:
    """Name the missing ranks when a collective fails."""
    try:
        yield
    except RuntimeError as error:
        if not (context.is_distributed and is_lost_connection(error)):
            raise
        raise lost_rank_error(heartbeat, first_line(error)) from error


def lost_rank_error(heartbeat: Heartbeat, reason: str) -> RunStoppedError:
    """Return an error that names the missing ranks; this takes some seconds."""
    heartbeat.watch()
    return RunStoppedError(
        f"another process is gone or too slow; {heartbeat.report()}; the same command resumes from"
        f" the last checkpoint ({reason})"
    )
