"""Count bad samples and nonfinite updates; stop after too many."""

from collections.abc import Mapping, Sequence

from t2vgan.checkpoint.storage import list_steps
from t2vgan.config import Config, DataConfig
from t2vgan.data.loader import BadSample
from t2vgan.distributed.context import DelayedAllReduce, DistributedContext
from t2vgan.errors import RunStoppedError, UserError
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.training.checkpointer import CheckpointManager
from t2vgan.training.health.nonfinite import NonFiniteSteps, NonFiniteStop, nonfinite_error
from t2vgan.training.run_logger import RunLogger
from t2vgan.training.state import TrainingClock, TrainState

NAMED_PER_REASON = 5  # bad samples that messages name


class FaultMonitor:
    """Exchange each rank's findings, so that all ranks decide alike."""

    def __init__(
        self,
        config: Config,
        context: DistributedContext,
        gan: AdversarialTraining,
        clock: TrainingClock,
        logger: RunLogger,
        checkpoints: CheckpointManager,
    ) -> None:
        self.run_dir, self.context, self.clock = config.run_dir, context, clock
        self.logger, self.checkpoints = logger, checkpoints
        self.bad_samples = BadSamples(config.data)
        self.nonfinite = NonFiniteSteps(gan, config.max_bad_steps)
        self.rank_status = DelayedAllReduce(context)
        self.rollbacks = 0
        """Number of rollbacks, each of which chose another order of the data."""

    def exchange(self, stop_requested: bool, bad_samples: Sequence[BadSample]) -> bool:
        """Exchange each rank's findings; return whether any must stop (collective).

        With several ranks the result is that of the previous call.

        Raises:
            UserError: too many samples are bad.
        """
        status = [int(stop_requested), len(bad_samples)]
        return self._handle(self.rank_status.all_reduce(status, bad_samples))

    def finish_exchange(self) -> bool:
        """Wait for the pending exchange; return as `exchange` does (collective)."""
        return self._handle(self.rank_status.wait())

    def _handle(self, status: tuple[list[int], Sequence[BadSample]] | None) -> bool:
        (num_stops, num_bad), bad_samples = status or ([0, 0], [])
        if num_bad:
            every = [bad for part in self.context.gather_objects(bad_samples) for bad in part]
            for message in self.bad_samples.update(every):
                self.logger.log_warning(message)
            with self.context.fail_together():
                self.bad_samples.check(self.clock.clips_seen, every[-1])
        return num_stops > 0

    def check_nonfinite(self) -> None:
        """Log nonfinite steps; raise after too many in a row (collective)."""
        for message in self.nonfinite.gather():
            self.logger.log_warning(message)
        if self.nonfinite.are_too_many:
            raise self.context.run_on_main(self._stop_nonfinite)

    def _stop_nonfinite(self) -> RunStoppedError:
        """Write the record for --rollback, and return the error."""
        self.checkpoints.wait()
        step = self.clock.step
        NonFiniteStop(step=step, rollbacks=self.rollbacks).write(self.run_dir)
        last_checkpoint = max(list_steps(self.run_dir), default=None)
        return nonfinite_error(self.nonfinite.in_a_row, step, last_checkpoint)

    def count(self) -> dict[str, float]:
        """Return the total counts for a record of metrics."""
        return {"data/bad_samples": self.bad_samples.total, "bad_steps": self.nonfinite.total}

    def load(self, state: TrainState) -> None:
        """Restore a checkpoint's counts."""
        self.bad_samples.load(state.bad_clips)
        self.nonfinite.load(state)
        self.rollbacks = state.rollbacks

    def roll_back(self, stop: NonFiniteStop) -> None:
        """Choose another order of the data than that of the stopped run."""
        self.rollbacks = stop.rollbacks_after(self.rollbacks)


class BadSamples:
    """Count bad samples over all ranks, by reason."""

    def __init__(self, data: DataConfig) -> None:
        self.data = data
        self.counts: dict[str, int] = {}

    @property
    def total(self) -> int:
        """Number of bad samples."""
        return sum(self.counts.values())

    def update(self, bad_samples: Sequence[BadSample]) -> list[str]:
        """Count samples; return messages on the first ones for each reason."""
        messages = []
        for bad in bad_samples:
            self.counts[bad.reason] = self.counts.get(bad.reason, 0) + 1
            if self.counts[bad.reason] <= NAMED_PER_REASON:
                messages.append(
                    f"bad sample {bad.key} in {bad.shard}: {bad.reason}: {bad.detail};"
                    " a neighbour takes its place"
                )
        return messages

    def check(self, clips_seen: int, last: BadSample) -> None:
        """Check the limit; the counts are equal on all ranks.

        Raises:
            UserError: more than data.max_bad_fraction of the clips, and more than one, were bad.
        """
        if self.total <= max(1, self.data.max_bad_fraction * clips_seen):
            return
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.counts.items())
        raise UserError(
            f"{self.total} of {clips_seen} clips could not be used ({reasons}), more than"
            f" data.max_bad_fraction={self.data.max_bad_fraction}; last: {last.shard} {last.key}:"
            f" {last.detail} (t2vgan verify checks a whole folder)"
        )

    def load(self, counts: Mapping[str, int]) -> None:
        """Restore a checkpoint's counts."""
        self.counts = dict(counts)
