"""Define a run's clock and the JSON part of its checkpoints."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, NonNegativeInt, PositiveInt


def check_lengths(lengths: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Raise ValueError unless a run's lengths begin with its first step."""
    if lengths and lengths[0][0] != 0:
        raise ValueError("the first length must begin at step 0")
    return lengths


Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Totals = Annotated[list[tuple[float, float]], Field(min_length=1)]
"""Each rank's sum and count of values."""
Lengths = Annotated[list[tuple[NonNegativeInt, PositiveInt]], AfterValidator(check_lengths)]
"""(step, num_steps) each: from `step` on, schedules are those of a run of `num_steps` steps."""


class TrainState(BaseModel):
    """Hold the state of a checkpoint besides tensors.

    Everything else is derived from the step. Each field belongs to one object of the run, which
    returns and loads it.
    """

    data_fingerprint: str
    step: NonNegativeInt = 0
    clips_seen: NonNegativeInt = 0
    seconds: Seconds = 0.0
    """Training time, without sampling, evaluating and saving."""
    safety_seconds: Seconds = 0.0
    """Time that training waited for saves, comparisons of ranks and exchanges of status."""
    waiting_seconds: Seconds = 0.0
    """Part of the training time in which the loader had no batch ready."""
    writing_seconds: Seconds = 0.0
    """CPU time of the thread that writes checkpoints."""
    bad_clips: dict[str, NonNegativeInt] = {}
    """Number of unusable samples over all ranks, by reason."""
    bad_steps: dict[str, NonNegativeInt] = {}
    """Number of nonfinite updates, by network; overflows caused by loss scaling do not count."""
    bad_steps_in_a_row: NonNegativeInt = 0
    rollbacks: NonNegativeInt = 0
    """Number of rollbacks, each of which chose another order of the data."""
    schedule_lengths: Lengths = []
    alarms: dict[str, list[bool]] = {}
    """Whether the finding of each alarm held in its last records."""
    best_accuracy: Finite = -1.0
    """The highest accuracy of an evaluation, or agreement capped at that of real clips."""
    best_step: int = -1
    """Step of the last evaluation that is not measurably below it."""
    compiled: bool = False
    """Whether the networks were compiled, so that a resumed run continues bit for bit."""
    loss_scales: dict[str, dict[str, NonNegativeInt | Seconds]] = {}
    """State of each network's gradient scaler in float16; empty otherwise."""
    unread_notes: dict[str, Totals] = {}
    """Each rank's sums for the next record of metrics."""


@dataclass
class Timer:
    """Accumulate the seconds spent in `with timer.measure():`."""

    seconds: float = 0.0

    @contextmanager
    def measure(self) -> Iterator[None]:
        """Add the time until the context ends."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start


@dataclass
class TrainingClock:
    """Count steps, clips seen, and time."""

    global_batch_size: int
    step: int = 0
    training: Timer = field(default_factory=Timer)
    safety: Timer = field(default_factory=Timer)
    waiting: Timer = field(default_factory=Timer)
    """Time waiting for data; a part of `training`."""

    @property
    def clips_seen(self) -> int:
        """Real clips shown to the discriminator."""
        return self.step * self.global_batch_size

    def load(self, state: TrainState) -> None:
        """Restore a checkpoint's step and times."""
        self.step = state.step
        self.training.seconds = state.seconds
        self.safety.seconds = state.safety_seconds
        self.waiting.seconds = state.waiting_seconds


def is_due(step: int, every_steps: int) -> bool:
    """Return whether a step ends an interval; 0 means never."""
    return every_steps > 0 and step > 0 and step % every_steps == 0
