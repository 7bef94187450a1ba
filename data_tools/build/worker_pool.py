"""Worker processes that stop when asked and never outlive their parent."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.synchronize import Event
from typing import TypeVar

from t2vgan.errors import UserError

Job = TypeVar("Job")
Result = TypeVar("Result")
ShouldStop = Callable[[], bool]

_should_stop: ShouldStop = lambda: False  # noqa: E731 (a worker's asks its parent's event)


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
        with _interrupt_held():  # workers start here, and inherit that Ctrl-C is not for them
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


@contextmanager
def _interrupt_held() -> Iterator[None]:
    """Hold Ctrl-C back until the block ends; processes started inside never see it.

    The mask is what they inherit. It does not protect this process, where any thread may take the
    signal, so that here a handler keeps it.
    """
    held: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: held.append(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, handler)
        if held:
            signal.raise_signal(signal.SIGINT)


def _run_job(function: Callable[[Job, ShouldStop], Result], job: Job) -> Result:
    return function(job, _should_stop)


def _start_worker(stop: Event) -> None:
    """Listen to the parent's wish to stop, and die with it however it dies."""
    global _should_stop
    _should_stop = stop.is_set
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
