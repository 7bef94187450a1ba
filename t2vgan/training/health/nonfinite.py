"""Count steps with a nonfinite loss or gradient, and limit them."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from t2vgan.errors import RunStoppedError, UserError
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.training.state import TrainState
from t2vgan.utils.files import atomic_write_bytes
from t2vgan.utils.untrusted import MAX_JSON_BYTES, read_bytes

NONFINITE_STOP_NAME = "bad_steps.json"
MAX_KEYS_NAMED = 8  # samples named for a step
MAX_STEPS_NAMED = 10  # steps named in each call of `gather`


class NonFiniteSteps:
    """Count steps with an update that was not applied.

    They are found on the device (NetworkOptimizer.step), and gathered when metrics are logged and
    at saves, with the same result on all ranks. An overflow caused by loss scaling (float16) does
    not count.
    """

    def __init__(self, gan: AdversarialTraining, max_in_a_row: int) -> None:
        self.gan, self.max_in_a_row = gan, max_in_a_row
        self.counts: dict[str, int] = {}
        """Number of updates that were not applied, by network."""
        self.in_a_row = 0
        self.steps: list[tuple[int, Sequence[str]]] = []  # since the last gather: (step, keys)

    @property
    def total(self) -> int:
        """Number of updates that were not applied."""
        return sum(self.counts.values())

    @property
    def are_too_many(self) -> bool:
        """Whether the run must stop."""
        return self.in_a_row >= self.max_in_a_row

    def add_step(self, step: int, keys: Sequence[str]) -> None:
        """Store the keys of the samples that a step was trained on."""
        self.steps.append((step, keys))

    def gather(self) -> list[str]:
        """Count the steps since the last call; return messages on some.

        Collective; waits for the device.
        """
        found = self.gan.gather_nonfinite()
        names = sorted(found)
        flags = zip(*(found[name] for name in names), strict=True)
        messages: list[str] = []
        for (step, keys), bad in zip(self.steps, flags, strict=True):
            networks = [name for name, is_bad in zip(names, bad, strict=True) if is_bad]
            self.in_a_row = self.in_a_row + 1 if networks else 0
            for name in networks:
                self.counts[name] = self.counts.get(name, 0) + 1
            if networks and len(messages) < MAX_STEPS_NAMED:
                messages.append(self._format(step, networks, keys))
            if self.are_too_many:
                break  # the run stops here; later steps are not counted
        self.steps = []
        return messages

    def _format(self, step: int, networks: Sequence[str], keys: Sequence[str]) -> str:
        """Return a message that names the samples of all ranks (collective)."""
        every = [key for part in self.gan.context.gather_objects(keys) for key in part]
        shown = ", ".join(every[:MAX_KEYS_NAMED]) + (", ..." if every[MAX_KEYS_NAMED:] else "")
        return (
            f"step {step} was not applied to the {' and the '.join(networks)}: loss or"
            f" gradient is not finite; its clips: {shown}"
        )

    def load(self, state: TrainState) -> None:
        """Restore a checkpoint's counts."""
        self.counts, self.in_a_row = dict(state.bad_steps), state.bad_steps_in_a_row


class NonFiniteStop(BaseModel):
    """Record of a run that stopped after nonfinite steps, for --rollback."""

    step: int
    rollbacks: int
    """Number of earlier rollbacks of the run."""

    def rollbacks_after(self, rollbacks: int) -> int:
        """Return the number of rollbacks after --rollback; this is idempotent."""
        return max(rollbacks, self.rollbacks + 1)

    def write(self, run_dir: Path) -> None:
        """Write the record into the run_dir."""
        atomic_write_bytes(run_dir / NONFINITE_STOP_NAME, self.model_dump_json().encode())

    @classmethod
    def read(cls, run_dir: Path) -> "NonFiniteStop":
        """Read the record of a run_dir.

        Raises:
            UserError: the run did not stop because of nonfinite steps.
        """
        try:
            return cls.model_validate_json(
                read_bytes(run_dir / NONFINITE_STOP_NAME, MAX_JSON_BYTES)
            )
        except (FileNotFoundError, ValueError):
            raise UserError(
                f"--rollback: {run_dir} did not stop because of nonfinite steps; omit --rollback"
            ) from None


def nonfinite_error(in_a_row: int, step: int, last_checkpoint: int | None) -> RunStoppedError:
    """Return the error that ends a run after too many nonfinite steps."""
    start = "the start"
    if last_checkpoint is not None:
        start = f"the last good checkpoint, of step {last_checkpoint}"
    return RunStoppedError(
        f"loss or gradient was not finite in {in_a_row} consecutive steps"
        f" (--max-bad-steps), up to step {step}; the same command with --rollback continues from"
        f" {start}, with the data in another order; if it happens again, lower the learning rates"
        " or raise gamma"
    )
