"""Capture the parts of a step as CUDA graphs, and replay them.

A small GAN on a large GPU is limited by kernel launches, about a thousand per step. A graph
launches all kernels of a part at once. The parts of a step are the micro-batches; for each network
the forward and backward passes, and the gradient's norm and clipping; and at the end the update of
the averaged generator and the metrics. Steps with and without the penalty have graphs of their own,
as has each layout of the inputs.

A graph reads fixed addresses: inputs are copied into buffers of the step's own, and values that
change over a run are tensors. The all-reduce stays outside, so that a lost rank is found as usual,
and so does Adam, whose fused kernel cannot read beta2 from the device.
"""

import gc
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor

from t2vgan.errors import UserError
from t2vgan.gan.batch import StepInputs
from t2vgan.gan.schedules import Schedule
from t2vgan.utils.console import first_line

WARM_UP_STEPS = 2
"""Steps of each kind without capture, in which libraries initialise and allocate."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Step:
    """Hold a step's inputs, and run its parts."""

    def __init__(self, inputs: StepInputs, schedule: Schedule) -> None:
        self.inputs, self.schedule = inputs, schedule

    def run(self, part: str, function: Callable[[], T]) -> T:
        """Return what the function returns. Each part runs once per step."""
        return function()


class Capture(Protocol):
    """Interface for capturing functions of static buffers."""

    def warm_up(self, function: Callable[[], T]) -> T:
        """Call a function without capture, on the stream used for capture later."""

    def __call__(self, function: Callable[[], T]) -> Callable[[], T]:
        """Capture a function, and return its replay at the same addresses.

        The output of a replay may be overwritten by replays of earlier captures.
        """


class StepGraphs:
    """Steps that are captured, and the scheduled values that they read."""

    def __init__(self, device: torch.device, capture: Capture, *, required: bool = False) -> None:
        """Start without graphs.

        `required`: raise if a capture fails, instead of continuing without graphs.
        """
        self.device, self.capture, self.required = device, capture, required
        self.steps: dict[object, GraphedStep] = {}
        self.num_steps = Counter[object]()
        self.scheduled: dict[str, Tensor] = {}
        self.has_failed = False

    def begin(self, inputs: StepInputs, schedule: Schedule) -> Step:
        """Return a step: without graphs at first, then a captured one."""
        if self.has_failed:
            return Step(inputs, schedule)
        schedule = self.put_on_device(schedule)
        shapes = [(tensor.shape, tensor.dtype, tensor.stride()) for tensor in inputs.tensors]
        key = schedule.is_penalised, inputs.layout, *shapes
        self.num_steps[key] += 1
        if self.num_steps[key] <= WARM_UP_STEPS:
            return WarmUpStep(inputs, schedule, self.capture)
        if key not in self.steps:
            self.steps[key] = GraphedStep(inputs, schedule, self)
        step = self.steps[key]
        step.copy_inputs(inputs.tensors)
        return step

    def put_on_device(self, schedule: Schedule) -> Schedule:
        """Return a schedule whose values are the tensors that graphs read.

        Learning rates and beta1 stay numbers, which only Adam reads.
        """
        names = ["beta2", "recovery_weight", "ema_weight"]
        if schedule.is_penalised:
            names.append("penalty_weight")
        tensors: Any = {name: self.tensor(name, getattr(schedule, name)) for name in names}
        return replace(schedule, **tensors)

    def tensor(self, name: str, value: float | Tensor) -> Tensor:
        """Return the value as the tensor of this name, ().

        It is float64 like Python's floats: the product with float32 has the same bits.
        """
        if name not in self.scheduled:
            self.scheduled[name] = torch.zeros((), dtype=torch.float64, device=self.device)
        return self.scheduled[name].fill_(value)

    def report_failure(self, error: RuntimeError) -> None:
        """Raise, or log that steps run without graphs from now on."""
        reason = first_line(first_error(error))
        if self.required:
            raise UserError(
                f"cuda_graphs=on: a step cannot be captured ({reason}); use --cuda-graphs auto"
            ) from error
        self.has_failed = True
        self.steps.clear()
        logger.warning(
            "cuda_graphs: a step cannot be captured (%s); steps run without graphs", reason
        )


def first_error(error: RuntimeError) -> RuntimeError:
    """Return the error that led to this one.

    The last error of a failed capture only says that there was another.
    """
    first, context = error, error.__context__
    while context:
        if isinstance(context, RuntimeError):  # others were handled, such as a missed cache
            first = context
        context = context.__context__
    return first


class WarmUpStep(Step):
    """A step before those that are captured."""

    def __init__(self, inputs: StepInputs, schedule: Schedule, capture: Capture) -> None:
        super().__init__(inputs, schedule)
        self.capture = capture

    def run(self, part: str, function: Callable[[], T]) -> T:
        """Call a function on the stream used for capture later."""
        return self.capture.warm_up(function)


class GraphedStep(Step):
    """The captured parts of one kind of step, and its input buffers.

    All parts are captured in the same step, so that each finds the results of those before it at
    the same addresses in every later step. Results are read within the step, and parts are replayed
    in the order of their capture, so that one memory pool serves all.
    """

    def __init__(self, inputs: StepInputs, schedule: Schedule, graphs: StepGraphs) -> None:
        buffers = [tensor.clone() for tensor in inputs.tensors]
        super().__init__(replace(inputs, tensors=buffers), schedule)
        self.graphs = graphs
        self.replays: dict[str, Callable[[], Any]] = {}

    def copy_inputs(self, tensors: Sequence[Tensor]) -> None:
        """Copy inputs of the same layout into the buffers."""
        for own, given in zip(self.inputs.tensors, tensors, strict=True):
            own.copy_(given, non_blocking=True)

    def run(self, part: str, function: Callable[[], T]) -> T:
        """Replay a function; call it if it cannot be captured.

        Raises:
            UserError: the capture fails, and graphs are required.
        """
        if part not in self.replays:
            if self.graphs.has_failed:
                return function()
            try:
                self.replays[part] = self.graphs.capture(function)
            except RuntimeError as error:
                self.graphs.report_failure(error)
                return function()
        output: T = self.replays[part]()
        return output


# --- CUDA -----------------------------------------------------------------------------------------


class CudaCapture:
    """Capture on a separate stream, into one memory pool.

    Memory that a graph frees internally is reused by graphs captured later, also for their outputs.
    So replaying the earlier graph overwrites the outputs of the later ones.
    """

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream()

    def warm_up(self, function: Callable[[], T]) -> T:
        """Call a function on the stream where it will be captured."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            output = function()
        torch.cuda.current_stream().wait_stream(self.stream)
        return output

    def __call__(self, function: Callable[[], T]) -> Callable[[], T]:
        """Capture a function without executing it.

        Other threads, such as the loader's, may allocate and copy meanwhile. If the capture fails,
        `torch.cuda.graph` leaves its stream current; the outer context sets the former one again,
        on which other threads draw with the weights.
        """
        gc.collect()  # else garbage of earlier backward passes might be freed during capture
        graph = torch.cuda.CUDAGraph()
        capture = torch.cuda.graph(
            graph, pool=self.pool, stream=self.stream, capture_error_mode="thread_local"
        )
        try:
            with torch.cuda.stream(self.stream), capture:
                output = function()
        except RuntimeError:
            end_allocation(self.pool)
            raise

        def replay() -> T:
            graph.replay()
            return output

        return replay


def end_allocation(pool: Any) -> None:
    """Let the allocator leave a pool after a failed capture.

    Until pytorch#180395 (2026) torch itself does not: freed memory would be kept, and later
    captures of the process would fail.
    """
    device = torch.cuda.current_device()
    with suppress(RuntimeError):  # torch did it
        torch._C._cuda_endAllocateToPool(device, pool)
        torch._C._cuda_releasePool(device, pool)


def choose_cuda_graphs(requested: str, device: torch.device, precision: torch.dtype) -> bool:
    """Return whether steps are replayed as CUDA graphs.

    "auto" means on a GPU, except in float16.

    Raises:
        UserError: graphs are requested but impossible.
    """
    reason = ""
    if device.type != "cuda":
        reason = f"is for GPUs, but this process runs on the {device.type.upper()}"
    elif precision == torch.float16:
        reason = "does not work with float16, whose gradient scaler decides on the host"
    if requested == "on" and reason:
        raise UserError(f"cuda_graphs=on {reason}; use --cuda-graphs auto")
    return requested != "off" and not reason
