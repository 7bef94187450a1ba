"""Capture the gradients of a step as CUDA graphs, and replay them.

A small GAN on a large GPU is limited by kernel launches, about a thousand per step. A graph
launches all kernels of a network's forward and backward passes at once. There is one graph for the
generator and two for the discriminator, with and without the penalty, for each layout of the
micro-batches.

A graph reads fixed addresses: inputs are copied into its own buffers, and loss weights that change
over a run are tensors. Some fifty kernels stay outside the graphs: the all-reduce, so that a lost
rank is found as usual; clipping and Adam, whose fused kernel cannot read beta2 from the device; and
the update of the averaged generator.
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
"""Calls without capture for each kind of step, in which libraries initialise and allocate."""

logger = logging.getLogger(__name__)


class Computed(NamedTuple):
    """Results of a gradient computation, besides the gradients."""

    loss: Tensor
    """(), the sum of the micro-batches' means."""
    kept: Sequence[Mapping[str, Tensor]]
    """For each micro-batch, the tensors that the next update needs."""
    added: Sequence[AddedValues] = ()
    """Values that are still to be added to the metrics."""


class Kind(NamedTuple):
    """The kind of gradient computation that a graph holds."""

    network: str
    has_penalty: bool


Gradients = Callable[[Sequence[MicroBatch], Schedule], Computed]
"""Fills a network's gradient buffer from micro-batches."""
Replay = Callable[[], Computed]


class Capture(Protocol):
    """Interface for capturing functions of static buffers."""

    def warm_up(self, function: Replay) -> Computed:
        """Call a function without capture, on the stream used for capture later."""

    def __call__(self, function: Replay, pool: str) -> Replay:
        """Capture a function, and return its replay at the same addresses.

        The output of a replay may be overwritten by other replays of its pool, but by no others.
        """


class StepGraph:
    """One captured function of micro-batches, with its own input buffers."""

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
        """Copy micro-batches of the captured layout into the buffers and replay."""
        for own, given in zip(self.inputs, batch, strict=True):
            targets, sources = (list(part.tensors.values()) for part in (own, given))
            torch._foreach_copy_(targets, sources, non_blocking=True)
        return self.replay()


class StepGraphs:
    """Graphs by kind of step and layout, and the weights they read."""

    def __init__(self, device: torch.device, capture: Capture, *, required: bool = False) -> None:
        """Start without graphs.

        `required`: raise if a capture fails, instead of continuing without graphs.
        """
        self.capture, self.required = capture, required
        self.graphs: dict[object, StepGraph] = {}
        self.num_calls = Counter[object]()
        self.has_failed = False
        # float64 like Python's floats: the product with float32 has the same bits.
        self.penalty_weight = torch.zeros((), dtype=torch.float64, device=device)
        self.recovery_weight = torch.zeros_like(self.penalty_weight)

    def run(
        self, kind: Kind, function: Gradients, batch: Sequence[MicroBatch], schedule: Schedule
    ) -> Computed:
        """Call the function of this kind of step, or replay it.

        Each network has one call per step, whose result is read within the step. So all graphs of a
        network share a memory pool, and the two networks have separate pools.

        Raises:
            UserError: the capture fails, and graphs are required.
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
        """Return a schedule whose loss weights are the tensors that graphs read."""
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
        logger.warning(
            "cuda_graphs: a step cannot be captured (%s); steps run without graphs", reason
        )


def clone(batch: MicroBatch) -> MicroBatch:
    """Return a copy of a micro-batch with the same layout."""
    return replace(batch, **{name: tensor.clone() for name, tensor in batch.tensors.items()})


def layout(batch: MicroBatch) -> tuple[object, ...]:
    """Return the names, shapes, types and strides of a micro-batch's tensors."""
    return tuple((name, t.shape, t.dtype, t.stride()) for name, t in batch.tensors.items())


# --- CUDA -----------------------------------------------------------------------------------------


class CudaCapture:
    """Capture on a separate stream, into named memory pools.

    Memory that a graph frees internally is reused by graphs captured later in its pool, also for
    their outputs. So replaying the earlier graph overwrites the outputs of the later ones.
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
        """Capture a function without executing it.

        Other threads, such as the loader's, may allocate and copy meanwhile. If the capture fails,
        `torch.cuda.graph` leaves its stream current; the outer context sets the former one again,
        on which other threads draw with the weights.
        """
        gc.collect()  # else garbage of earlier backward passes might be freed during capture
        graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.stream(self.stream),
            torch.cuda.graph(
                graph, pool=self.pools[pool], stream=self.stream, capture_error_mode="thread_local"
            ),
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
