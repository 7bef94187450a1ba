"""The processes of a run: who am I, on what device, do we stop, what did the others find.

Everything here works the same with one process. Methods that talk to other processes are
collective: every rank must call them, in the same order.
"""

import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs, broadcast_object_list, gather
from torch import Tensor, nn

COLLECTIVE_TIMEOUT = timedelta(minutes=30)


class Processes:
    """This process among the run's processes."""

    def __init__(self, *, tracking: str = "none", num_cpu_threads: int = 0) -> None:
        self.accelerator = Accelerator(
            cpu=not torch.cuda.is_available(),
            log_with=None if tracking == "none" else tracking,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=COLLECTIVE_TIMEOUT)],
        )
        self.device: torch.device = self.accelerator.device
        self.rank: int = self.accelerator.process_index
        self.world_size: int = self.accelerator.num_processes
        self.is_main: bool = self.accelerator.is_main_process
        if self.device.type == "cpu":
            torch.set_num_threads(num_cpu_threads or self.fair_share_of_cores())

    def fair_share_of_cores(self) -> int:
        """Return this machine's cores over the processes on it; launchers leave one thread each."""
        local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", self.world_size))
        return max(1, len(os.sched_getaffinity(0)) // local_world_size)

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

    def any(self, flag: bool) -> bool:
        """Return whether the flag is set on any rank."""
        if self.world_size == 1:
            return flag
        total = self.accelerator.reduce(torch.tensor(float(flag), device=self.device))
        return bool(total.item() > 0)

    def agree(self, value: Any) -> Any:
        """Return the main rank's value on every rank."""
        if self.world_size == 1:
            return value
        return broadcast_object_list([value])[0]

    def wait(self) -> None:
        """Wait for every rank."""
        self.accelerator.wait_for_everyone()

    def end(self) -> None:
        """Leave the process group; without this, torch complains at exit."""
        if torch.distributed.is_initialized():
            torch.distributed.destroy_process_group()


class StopFlag:
    """Set by SIGTERM, Ctrl-C or the death of the launcher; asked at step boundaries."""

    def __init__(self) -> None:
        self.reason = ""
        self.parent = os.getppid()

    def is_set(self) -> bool:
        """Return whether this process was asked to stop."""
        if not self.reason and os.getppid() != self.parent:
            self.reason = "the launcher died"
        return bool(self.reason)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        if self.reason and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.reason = signal.Signals(number).name
        print(f"\n{self.reason}: saving after this step (Ctrl-C again gives up)", file=sys.stderr)


@contextmanager
def stop_on_signals() -> Iterator[StopFlag]:
    """Turn SIGTERM and the first Ctrl-C into a flag for as long as the context lasts."""
    flag = StopFlag()
    numbers = (signal.SIGTERM, signal.SIGINT)
    before = [signal.signal(number, flag._on_signal) for number in numbers]
    try:
        yield flag
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def choose_precision(requested: str, device: torch.device) -> torch.dtype:
    """Return the autocast type; float32 means none.

    "auto" takes bfloat16 only where the hardware computes in it: CPUs without AMX or AVX512-BF16
    convert every operand and are many times slower than in float32.
    """
    named = {"bf16": torch.bfloat16, "fp16": torch.float16, "no": torch.float32}
    if requested != "auto":
        return named[requested]
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else torch.float16
    return torch.bfloat16 if cpu_computes_bfloat16() else torch.float32


def cpu_computes_bfloat16() -> bool:
    """Return whether this CPU multiplies bfloat16 matrices in hardware."""
    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(capabilities.get("amx_bf16") or capabilities.get("avx512_bf16"))


def describe_device(device: torch.device) -> str:
    """Return a GPU's name, or the CPU's number of threads."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type}, {torch.get_num_threads()} threads"


def peak_memory_gb() -> float:
    """Return the most memory used so far: the GPU's, or on a CPU the process's."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
