"""Worker processes that stop when asked and never outlive their parent."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from t2vgan.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")
ShouldStop = Callable[[], bool]

_stop = None  # the parent's event, in a worker


def run_jobs(
    function: Callable[[Job, ShouldStop], Result], jobs: Sequence[Job], *, num_workers: int
) -> Iterator[Result]:
    """Yield `function(job, should_stop)` of every job as each is done, in any order.

    One worker means this process. When the caller stops iterating (an exception, Ctrl-C), the
    workers are asked to stop, and have ended before the exception goes on.
    """
    if num_workers == 1 or len(jobs) <= 1:
        yield from (function(job, lambda: False) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    executor = ProcessPoolExecutor(
        min(num_workers, len(jobs)), context, initializer=_start_worker, initargs=(stop,)
    )
    try:
        futures = [executor.submit(_run_job, function, job) for job in jobs]
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool:
        raise UserError(
            "a worker process died (out of memory?); run the same command again to continue"
        ) from None
    finally:
        stop.set()
        executor.shutdown(wait=True, cancel_futures=True)


def _run_job(function: Callable[[Job, ShouldStop], Result], job: Job) -> Result:
    return function(job, _stop.is_set)


def _start_worker(stop) -> None:
    """Leave Ctrl-C to the parent, and die with it however it dies."""
    global _stop
    _stop = stop
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
