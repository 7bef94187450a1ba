"""Run jobs in worker processes that stop on request."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from multiprocessing.synchronize import Event
from typing import TypeVar

from t2vgan.errors import UserError

from .protocol import ShouldStop

Job = TypeVar("Job")
Result = TypeVar("Result")

_should_stop: ShouldStop = lambda: False  # noqa: E731 (in a worker: its parent's event)


def run_jobs(
    function: Callable[[Job, ShouldStop], Result], jobs: Sequence[Job], *, num_workers: int
) -> Iterator[Result]:
    """Yield `function(job, should_stop)` of every job, in completion order.

    With one worker the jobs run in this process. If the caller stops iterating (an exception,
    Ctrl-C), the workers are asked to stop, and have ended before the exception propagates.
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
        with _deferred_interrupt():  # workers start here and inherit the mask
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
def _deferred_interrupt() -> Iterator[None]:
    """Defer Ctrl-C until the block ends; processes started inside ignore it.

    They inherit the signal mask. The mask does not protect this process, because any of its threads
    may receive the signal, so a handler records it here.
    """
    deferred: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: deferred.append(number))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        signal.signal(signal.SIGINT, handler)
        if deferred:
            signal.raise_signal(signal.SIGINT)


def _run_job(function: Callable[[Job, ShouldStop], Result], job: Job) -> Result:
    return function(job, _should_stop)


def _start_worker(stop: Event) -> None:
    """Connect to the parent's stop event; exit when the parent exits."""
    global _should_stop
    _should_stop = stop.is_set
    exit_with_parent()


@contextmanager
def serving_parent() -> Iterator[None]:
    """End this process with its parent; a broken pipe is no error.

    If the parent is killed, the pipe breaks before the thread notices the parent's end.
    """
    exit_with_parent()
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        yield


def exit_with_parent() -> None:
    """Start a thread that ends this process when its parent ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
