"""The processes of a run: who am I, on what device, what did the others find.

Everything here works the same with one process. Methods that talk to other processes are
collective: every rank must call them, in the same order.
"""

import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import DistributedDataParallelKwargs, InitProcessGroupKwargs, gather
from torch import Tensor, nn

from t2vgan.distributed.rendezvous import init_process_group
from t2vgan.errors import AlreadyReportedError, UserError
from t2vgan.utils.console import format_error

# Until the first step is done: one rank may still read data, compile, or wait for a tracker.
STARTUP_TIMEOUT = timedelta(minutes=30)
POLL_SECONDS = 0.1

T = TypeVar("T")


class DistributedContext:
    """This process among the run's processes."""

    def __init__(
        self, *, num_cpu_threads: int = 0, timeout_seconds: float = STARTUP_TIMEOUT.total_seconds()
    ) -> None:
        device, num_cores = init_process_group(
            timeout_seconds=timeout_seconds, collective_timeout=STARTUP_TIMEOUT
        )
        self.accelerator = Accelerator(
            cpu=device == "cpu",
            mixed_precision="no",  # precision is ours: choose_precision
            kwargs_handlers=[
                InitProcessGroupKwargs(timeout=STARTUP_TIMEOUT),
                # Else buckets are arranged anew after each start's first step, and with them the
                # order of sums over three or more ranks: a resumed run would end with other bits.
                DistributedDataParallelKwargs(find_unused_parameters=True),
            ],
        )
        self.device: torch.device = self.accelerator.device
        self.rank: int = self.accelerator.process_index
        self.world_size: int = self.accelerator.num_processes
        self.is_main: bool = self.accelerator.is_main_process
        # Words between processes go by CPU: they neither wait for the device nor make it wait.
        self.cpu_group: Any = (  # of torch's types for it, half of torch disagrees
            dist.new_group(backend="gloo", timeout=STARTUP_TIMEOUT) if self.is_distributed else None
        )
        if self.device.type == "cpu":
            torch.set_num_threads(num_cpu_threads or num_cores)

    def wrap(self, network: nn.Module) -> nn.Module:
        """Return the network so that its gradients are averaged over ranks; one rank: as it is."""
        return self.accelerator.prepare_model(network)

    def accumulate(self, network: nn.Module, *, is_last: bool) -> AbstractContextManager[None]:
        """Return a context that keeps gradients local until the last micro-batch."""
        return nullcontext() if is_last else self.accelerator.no_sync(network)

    def gather_slices(self, local: Tensor) -> Tensor:
        """Interleave all ranks' tensors (N, ...): item i of rank r at place i * world_size + r."""
        if self.world_size == 1:
            return local
        stacked = gather(local.to(self.device)).unflatten(0, (self.world_size, -1))
        return stacked.transpose(0, 1).flatten(0, 1).cpu()

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over ranks."""
        return self.accelerator.reduce(values, reduction="mean")

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

    def run_on_main(self, work: Callable[[], T]) -> T:
        """Let the main rank work; every rank returns its result, or raises its error."""
        if not self.is_distributed:
            return work()
        result, problem = attempt(work) if self.is_main else (None, "")
        result, problem = self.broadcast((result, problem))
        if problem:
            raise self.shared_error(problem)
        return result  # type: ignore[return-value]  # the main rank's own

    def run_on_all(self, work: Callable[[], T]) -> T:
        """Let every rank work; if it fails on any, every rank raises that one's error."""
        if not self.is_distributed:
            return work()
        result, problem = attempt(work)
        told = problem and f"rank {self.rank} on {socket.gethostname()}: {problem}"
        problems = list(filter(None, self.gather_objects(told)))
        if len(problems) == self.world_size:  # the same mistake for all
            raise self.shared_error(problem)
        if problems:
            raise self.shared_error(problems[0])
        return result  # type: ignore[return-value]  # there was no problem

    def shared_error(self, problem: str) -> UserError:
        """Return an error that all ranks raise, so that each machine prints it once."""
        is_first_here = self.accelerator.is_local_main_process
        return UserError(problem) if is_first_here else AlreadyReportedError(problem)

    def wait_for_main(self, work: Callable[[], None]) -> None:
        """Let the main rank work as long as it takes; the others ask again and again (collective).

        So no timeout runs, however long the work. Every rank raises the main rank's error.
        """
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(work) if self.is_main else None
            while not self.broadcast(job.done() if job else None):
                time.sleep(POLL_SECONDS)
        self.run_on_main(lambda: job.result() if job else None)

    def set_timeout(self, seconds: float) -> None:
        """Give up waiting for another rank after so long, from now on."""
        set_timeout = getattr(dist, "set_timeout", None) or dist.distributed_c10d._set_pg_timeout
        for group in (None, self.cpu_group) if self.is_distributed else ():
            set_timeout(timedelta(seconds=seconds), group)

    @property
    def is_distributed(self) -> bool:
        return self.world_size > 1

    def shutdown(self) -> None:
        """Leave the process group; without this, torch complains at exit."""
        if dist.is_initialized():
            dist.barrier(group=self.cpu_group)  # the last words to others must have been heard
            dist.destroy_process_group()


def attempt(work: Callable[[], T]) -> tuple[T | None, str]:
    """Return what work returns, and what a user should know if it fails."""
    try:
        return work(), ""
    except (UserError, OSError) as error:
        return None, format_error(error)


class DelayedAllReduce:
    """Sums a few whole numbers over ranks, one step late, so that nobody waits for the sum."""

    def __init__(self, processes: DistributedContext) -> None:
        self.processes = processes
        self.sent: tuple[Any, Tensor, Any] | None = None  # (work, sums, what)

    def exchange(self, values: Sequence[int], what: Any) -> tuple[list[int], Any] | None:
        """Send this step's numbers; return the sums of a step ago, and its `what` (collective).

        The first call returns None. One process has nothing to wait for: it gets its own at once.
        """
        if not self.processes.is_distributed:
            return list(values), what
        before = self.receive()
        sending = torch.tensor(values)
        work = dist.all_reduce(sending, group=self.processes.cpu_group, async_op=True)
        self.sent = (work, sending, what)
        return before

    def receive(self) -> tuple[list[int], Any] | None:
        """Return what is still on its way, if anything (collective)."""
        if self.sent is None:
            return None
        (work, sums, what), self.sent = self.sent, None
        work.wait()
        return sums.tolist(), what


def is_lost_connection(error: RuntimeError) -> bool:
    """Return whether a collective failed because another rank is gone or too slow."""
    words = (
        "gloo",
        "NCCL",
        "timeout caused pair closure",
    )  # the last is gloo's, for a silent network
    return isinstance(error, dist.DistError) or any(word in str(error) for word in words)
