"""Capture the gradients of a step as CUDA graphs, and replay them.

A small GAN on a large GPU waits for kernels to be launched, about a thousand a step. A graph
launches all kernels of a network's forward and backward passes at once. There is one of each
network, of the discriminator one with and one without the penalty, and again for each layout of the
micro-batches.

What a graph reads must stay where it is: inputs are copied into buffers of its own, and weights of
the losses that change over a run are tensors. What is left outside are some fifty kernels, which
the device waits for as little as for the graphs: the average over ranks, so that a lost rank is
found as ever; clipping and Adam, whose fused kernel has no beta2 on the device; and the average of
the generator.
"""

import gc
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from t2vgan.errors import UserError
from t2vgan.gan.batch import MicroBatch
from t2vgan.gan.metrics import AddedValues
from t2vgan.gan.schedules import Schedule

WARM_UP_CALLS = 2
"""That run as they are, before a kind of step is captured: libraries choose and allocate first."""

logger = logging.getLogger(__name__)


class Computed(NamedTuple):
    """What is read after a replay, besides the gradients."""

    loss: Tensor
    """(), the sum of the micro-batches' means."""
    kept: Sequence[Mapping[str, Tensor]]
    """What the next update needs, of each micro-batch."""
    added: Sequence[AddedValues] = ()
    """Values for the metrics that are not among them yet."""


class Kind(NamedTuple):
    """Which gradients of a step a graph computes."""

    network: str
    has_penalty: bool


Gradients = Callable[[Sequence[MicroBatch], Schedule], Computed]
"""Fills a network's gradient buffer from micro-batches."""
Replay = Callable[[], Computed]


class Capture(Protocol):
    """A way to capture functions of static buffers."""

    def warm_up(self, function: Replay) -> Computed:
        """Call a function as it is, where it will be captured later."""

    def __call__(self, function: Replay, pool: str) -> Replay:
        """Return what does again what the function does, at the same addresses.

        What a replay returns may be overwritten by other replays of its pool, and only by those.
        """


class StepGraph:
    """One captured function of micro-batches, with input buffers of its own."""

    def __init__(
        self,
        function: Gradients,
        batch: Sequence[MicroBatch],
        schedule: Schedule,
        capture: Capture,
        pool: str,
    ) -> None:
        self.inputs = [clone(micro_batch) for micro_batch in batch]
        self.replay = capture(lambda: function(self.inputs, schedule), pool)

    def __call__(self, batch: Sequence[MicroBatch]) -> Computed:
        """Copy micro-batches of the captured layout into the buffers, and replay."""
        for own, given in zip(self.inputs, batch, strict=True):
            targets, sources = (list(part.tensors.values()) for part in (own, given))
            torch._foreach_copy_(targets, sources, non_blocking=True)
        return self.replay()


class StepGraphs:
    """Graphs by kind of step and layout, and the weights they read."""

    def __init__(self, device: torch.device, capture: Capture, *, required: bool = False) -> None:
        """Start without graphs.

        `required`: raise where a capture fails, instead of going on without graphs.
        """
        self.capture, self.required = capture, required
        self.graphs: dict[object, StepGraph] = {}
        self.num_calls = Counter[object]()
        self.has_failed = False
        # In float64, like the host's: multiplied by float32, both give the same bits.
        self.penalty_weight = torch.zeros((), dtype=torch.float64, device=device)
        self.recovery_weight = torch.zeros_like(self.penalty_weight)

    def run(
        self, kind: Kind, function: Gradients, batch: Sequence[MicroBatch], schedule: Schedule
    ) -> Computed:
        """Call the function of this kind of step, or replay it.

        A network has one call in a step, whose result is read within the step: so the graphs of a
        network share a pool, and those of two do not.

        Raises:
            UserError: it cannot be captured, and graphs are required.
        """
        schedule = self.put_on_device(schedule)
        key = kind, *map(layout, batch)
        if self.has_failed:
            return function(batch, schedule)
        self.num_calls[key] += 1
        if self.num_calls[key] <= WARM_UP_CALLS:
            return self.capture.warm_up(lambda: function(batch, schedule))
        if key not in self.graphs:
            try:
                self.graphs[key] = StepGraph(function, batch, schedule, self.capture, kind.network)
            except RuntimeError as error:
                self.report_failure(error)
                return function(batch, schedule)
        return self.graphs[key](batch)

    def put_on_device(self, schedule: Schedule) -> Schedule:
        """Return a schedule with its weights in the tensors that graphs read."""
        self.recovery_weight.fill_(schedule.recovery_weight)
        schedule = replace(schedule, recovery_weight=self.recovery_weight)
        if not schedule.is_penalised:
            return schedule
        self.penalty_weight.fill_(schedule.penalty_weight)
        return replace(schedule, penalty_weight=self.penalty_weight)

    def report_failure(self, error: RuntimeError) -> None:
        """Raise, or log that steps run without graphs from now on."""
        reason = str(error).partition("\n")[0]
        if self.required:
            raise UserError(
                f"cuda_graphs=on: a step cannot be captured ({reason}); use --cuda-graphs auto"
            ) from error
        self.has_failed = True
        self.graphs.clear()
        logger.warning("cuda_graphs: a step cannot be captured (%s); steps run without", reason)


def clone(batch: MicroBatch) -> MicroBatch:
    """Return a micro-batch of the same layout, in memory of its own."""
    return replace(batch, **{name: tensor.clone() for name, tensor in batch.tensors.items()})


def layout(batch: MicroBatch) -> tuple[object, ...]:
    """Return the names, shapes, types and strides of a micro-batch's tensors."""
    return tuple((name, t.shape, t.dtype, t.stride()) for name, t in batch.tensors.items())


# --- CUDA -----------------------------------------------------------------------------------------


class CudaCapture:
    """Capture on a stream of its own, into pools of memory.

    What a graph frees within itself, graphs that are captured later in its pool use, also for what
    they return. So it overwrites that wherever it is replayed after them.
    """

    def __init__(self) -> None:
        self.pools = defaultdict[str, Any](torch.cuda.graph_pool_handle)
        self.stream = torch.cuda.Stream()

    def warm_up(self, function: Replay) -> Computed:
        """Call a function on the stream where it will be captured."""
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            output = function()
        torch.cuda.current_stream().wait_stream(self.stream)
        return output

    def __call__(self, function: Replay, pool: str) -> Replay:
        """Capture a function; nothing is computed yet.

        Other threads may allocate and copy meanwhile, such as the loader's.
        """
        gc.collect()  # what earlier backward passes left would be freed in the middle of it
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(
            graph, pool=self.pools[pool], stream=self.stream, capture_error_mode="thread_local"
        ):
            output = function()

        def replay() -> Computed:
            graph.replay()
            return output

        return replay


def choose_cuda_graphs(requested: str, device: torch.device, precision: torch.dtype) -> bool:
    """Return whether steps are replayed as CUDA graphs.

    "auto" means on a GPU, except in float16.

    Raises:
        UserError: they are asked for where they are impossible.
    """
    reason = ""
    if device.type != "cuda":
        reason = f"is for GPUs, and this process runs on the {device.type.upper()}"
    elif precision == torch.float16:
        reason = "cannot be with float16, whose gradient scaler decides on the host"
    if requested == "on" and reason:
        raise UserError(f"cuda_graphs=on {reason}; use --cuda-graphs auto")
    return requested != "off" and not reason
