"""Collectives, device and rank of a process.

Everything works the same with one process. Methods that exchange data are collective: every rank
must call them, in the same order.
"""

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import gather
from torch import Tensor

from t2vgan.distributed.deadline import Deadline, call_before
from t2vgan.distributed.rendezvous import (
    connect_timeout,
    explain_connection_errors,
    init_process_group,
)
from t2vgan.errors import AlreadyReportedError, RunStoppedError, UserError
from t2vgan.utils.arithmetic import set_arithmetic
from t2vgan.utils.console import format_error
from t2vgan.utils.memory import keep_freed_memory

# Until the first step is done: a rank may still read data, compile, or wait for a tracker.
STARTUP_TIMEOUT = timedelta(minutes=30)
CONNECT_SECONDS = 300.0
EXIT_TIMEOUT = timedelta(seconds=60)
POLL_SECONDS = 0.1

T = TypeVar("T")


class DistributedContext:
    """The device, rank and collectives of this process.

    `timeout_seconds` is how long the processes wait for each other to connect; `mode` names the
    command, which must be the same for all.
    """

    def __init__(
        self,
        *,
        num_cpu_threads: int = 0,
        timeout_seconds: float = CONNECT_SECONDS,
        mode: str = "",
    ) -> None:
        deadline = Deadline(timeout_seconds)
        device, num_cores = init_process_group(deadline, mode)
        self.accelerator = Accelerator(
            cpu=device == "cpu",
            mixed_precision="no",  # precision is ours: choose_precision
        )
        self.device: torch.device = self.accelerator.device
        self.rank: int = self.accelerator.process_index
        self.world_size: int = self.accelerator.num_processes
        self.is_main: bool = self.accelerator.is_main_process
        # Objects are exchanged between CPUs, so that this never synchronizes with the device.
        self.cpu_group: Any = None  # Any: torch's annotations of groups are inconsistent
        if self.is_distributed:
            timeout = connect_timeout(deadline)
            with explain_connection_errors():
                self.cpu_group = call_before(
                    deadline, lambda: dist.new_group(backend="gloo", timeout=timeout)
                )
            self.set_timeout(STARTUP_TIMEOUT.total_seconds())
        torch.set_num_threads(num_cpu_threads or num_cores)  # with a GPU, used by the meters
        set_arithmetic()
        if self.device.type == "cpu":
            keep_freed_memory()

    def new_cpu_group(self, timeout_seconds: float) -> Any:
        """Create a gloo group to be used by one thread (collective)."""
        with explain_connection_errors():
            return dist.new_group(backend="gloo", timeout=timedelta(seconds=timeout_seconds))

    def gather_rows(self, local: Tensor) -> Tensor:
        """Gather all ranks' tensors (N, ...) in the order of ranks."""
        return local if self.world_size == 1 else gather(local)

    def gather_slices(self, local: Tensor) -> Tensor:
        """Gather and interleave all ranks' tensors (N, ...).

        Item i of rank r goes to index i * world_size + r.
        """
        if self.world_size == 1:
            return local
        stacked = gather(local.to(self.device)).unflatten(0, (self.world_size, -1))
        return stacked.transpose(0, 1).flatten(0, 1).cpu()

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over ranks (collective)."""
        if not self.is_distributed:
            return values
        return self.accelerator.reduce(values, reduction="mean")

    def average_(self, values: Tensor) -> None:
        """Replace values by their mean over ranks, in place (collective)."""
        if self.is_distributed:
            dist.all_reduce(values)
            values /= self.world_size

    def broadcast(self, value: Any) -> Any:
        """Return the main rank's value on every rank."""
        if not self.is_distributed:
            return value
        values = [value]
        dist.broadcast_object_list(values, group=self.cpu_group, device=torch.device("cpu"))
        return values[0]

    def gather_objects(self, value: Any) -> list[Any]:
        """Return every rank's value, on every rank."""
        if not self.is_distributed:
            return [value]
        values = [None] * self.world_size
        dist.all_gather_object(values, value, group=self.cpu_group)
        return values

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any rank."""
        return any(self.gather_objects(flag))

    def run_on_main(self, function: Callable[[], T]) -> T:
        """Call a function on the main rank, and broadcast its result.

        With several ranks, its UserError or OSError is raised on every rank, as a UserError.
        """
        if not self.is_distributed:
            return function()
        result, problem = catch_user_error(function) if self.is_main else (None, "")
        result, problem = self.broadcast((result, problem))
        if problem:
            raise self.shared_error(problem)
        return result  # type: ignore[return-value]  # the main rank's result

    def run_on_all(self, function: Callable[[], T]) -> T:
        """Call a function on every rank; all raise a failing rank's error."""
        if not self.is_distributed:
            return function()
        result, problem = catch_user_error(function)
        described = problem and f"rank {self.rank} on {socket.gethostname()}: {problem}"
        problems = list(filter(None, self.gather_objects(described)))
        if len(problems) == self.world_size:  # probably the same mistake on all ranks
            raise self.shared_error(problem)
        if problems:
            raise self.shared_error(problems[0])
        return result  # type: ignore[return-value]  # there was no problem

    def shared_error(self, problem: str) -> UserError:
        """Return an error that all ranks raise, and each machine prints once."""
        is_first_here = self.accelerator.is_local_main_process
        error = UserError(problem) if is_first_here else AlreadyReportedError(problem)
        error.barrier = self.exit_barrier
        return error

    @contextmanager
    def fail_together(self) -> Iterator[None]:
        """Mark a UserError in this context as one that all ranks raise."""
        try:
            yield
        except UserError as error:
            error.barrier = self.exit_barrier
            raise

    def exit_barrier(self) -> None:
        """Wait until all ranks have printed a shared error (collective).

        Launchers kill the other ranks when one exits, and a lost connection would look like the
        cause.
        """
        with suppress(RuntimeError):  # a rank that is gone prints nothing
            if self.is_distributed:
                dist.monitored_barrier(self.cpu_group, timeout=EXIT_TIMEOUT)

    def wait_for_main(self, function: Callable[[], None]) -> None:
        """Call a function on the main rank while the others poll (collective).

        No timeout expires, however long the call takes. Every rank raises the main rank's error.
        """
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(function) if self.is_main else None
            while not self.broadcast(job.done() if job else None):
                time.sleep(POLL_SECONDS)
        self.run_on_main(lambda: job.result() if job else None)

    def set_timeout(self, seconds: float) -> None:
        """Set the timeout of all later collectives."""
        set_timeout = getattr(dist, "set_timeout", None) or dist.distributed_c10d._set_pg_timeout
        for group in (None, self.cpu_group) if self.is_distributed else ():
            set_timeout(timedelta(seconds=seconds), group)

    @property
    def is_distributed(self) -> bool:
        return self.world_size > 1

    def shutdown(self) -> None:
        """Destroy the process group; without this, torch warns at exit."""
        if dist.is_initialized():
            dist.barrier(group=self.cpu_group)  # all ranks must have received the last data
            dist.destroy_process_group()


def catch_user_error(function: Callable[[], T]) -> tuple[T | None, str]:
    """Return a function's result, or the message of its UserError or OSError."""
    try:
        return function(), ""
    except (UserError, OSError) as error:
        return None, format_error(error)


class DelayedAllReduce:
    """Sum integers over ranks, one call late so that no rank waits."""

    def __init__(self, context: DistributedContext) -> None:
        self.context = context
        self.pending: tuple[Any, Tensor, Any] | None = None  # (work, sums, payload)

    def all_reduce(self, values: Sequence[int], payload: Any) -> tuple[list[int], Any] | None:
        """Start summing; return the last call's sums and payload (collective).

        The first call returns None. A single process gets its own values at once.
        """
        if not self.context.is_distributed:
            return list(values), payload
        finished = self.wait()
        sums = torch.tensor(values)
        work = dist.all_reduce(sums, group=self.context.cpu_group, async_op=True)
        self.pending = (work, sums, payload)
        return finished

    def wait(self) -> tuple[list[int], Any] | None:
        """Return the pending sums and payload, if any (collective)."""
        if self.pending is None:
            return None
        (work, sums, payload), self.pending = self.pending, None
        work.wait()
        return sums.tolist(), payload


@contextmanager
def stop_without_peers() -> Iterator[None]:
    """Turn a collective that fails because of another rank into one line.

    Raises:
        RunStoppedError: a rank is gone, or did not answer in time.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_lost_connection(error):
            raise
        raise RunStoppedError(
            "another process is gone, or did not answer in time"
            f" ({str(error).splitlines()[0]}); see its output or that of its launcher,"
            " then start the same command again"
        ) from error


def is_lost_connection(error: RuntimeError) -> bool:
    """Return whether a collective failed because of another rank."""
    # The last is gloo's message if the network falls silent.
    signs = ("gloo", "NCCL", "timeout caused pair closure")
    return isinstance(error, dist.DistError) or any(sign in str(error) for sign in signs)
