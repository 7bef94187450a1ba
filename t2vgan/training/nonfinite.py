"""Numbers gone bad, and games gone dull: counted, named, and never quietly trained on."""

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel

from t2vgan.errors import RunStoppedError, UserError
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.training.state import TrainState
from t2vgan.utils.files import atomic_write_bytes

BAD_STEPS_NAME = "bad_steps.json"
KEYS_NAMED = 8  # of a bad step's clips
STEPS_NAMED = 10  # per reading


class NonFiniteSteps:
    """Steps in which an update was not applied, because loss or gradient was not finite.

    Found on the device (Player.step), and read at the log interval and at saves, the same on all
    ranks. In float16 an overflow of the scaled loss is no such step.
    """

    def __init__(self, game: AdversarialTraining, state: TrainState, max_in_a_row: int) -> None:
        self.game, self.state, self.max_in_a_row = game, state, max_in_a_row
        self.steps: list[tuple[int, Sequence[str]]] = []  # (step, its clips' keys), since read

    def remember(self, step: int, keys: Sequence[str]) -> None:
        self.steps.append((step, keys))

    def read(self) -> list[str]:
        """Count the bad steps since the last reading; return messages on the first (collective).

        Waits for the device.
        """
        state, found = self.state, self.game.read_bad()
        names = sorted(found)
        flags = zip(*(found[name] for name in names), strict=True)
        messages: list[str] = []
        for (step, keys), bad in zip(self.steps, flags, strict=True):
            sides = [name for name, is_bad in zip(names, bad, strict=True) if is_bad]
            state.bad_steps_in_a_row = state.bad_steps_in_a_row + 1 if sides else 0
            for side in sides:
                state.bad_steps[side] = state.bad_steps.get(side, 0) + 1
            if sides and len(messages) < STEPS_NAMED:
                every = [key for part in self.game.processes.gather_objects(keys) for key in part]
                shown = ", ".join(every[:KEYS_NAMED]) + (", ..." if every[KEYS_NAMED:] else "")
                messages.append(
                    f"step {step} was not applied to the {' and the '.join(sides)}: loss or"
                    f" gradient is not finite; its clips: {shown}"
                )
            if self.are_too_many:
                break  # the run stops here; what follows says nothing new
        self.steps = []
        return messages

    @property
    def are_too_many(self) -> bool:
        return self.state.bad_steps_in_a_row >= self.max_in_a_row


class BadStop(BaseModel):
    """What a run that stopped because of bad steps leaves for --rollback."""

    step: int
    rollbacks: int
    """How often the run had been rolled back before."""

    def rollbacks_after(self, rollbacks: int) -> int:
        """Return a run's number of rollbacks after --rollback; asked again, it stays the same."""
        return max(rollbacks, self.rollbacks + 1)


def record_bad_stop(run_dir: Path, state: TrainState) -> None:
    stop = BadStop(step=state.step, rollbacks=state.rollbacks)
    atomic_write_bytes(run_dir / BAD_STEPS_NAME, stop.model_dump_json().encode())


def bad_stop(state: TrainState, last_checkpoint: int | None) -> RunStoppedError:
    """Return the error that ends a run after too many bad steps in a row."""
    good = (
        "no checkpoint" if last_checkpoint is None else f"the checkpoint of step {last_checkpoint}"
    )
    return RunStoppedError(
        f"loss or gradient was not finite in {state.bad_steps_in_a_row} steps in a row"
        f" (--max-bad-steps), the last one step {state.step}; {good} is the last good one: the same"
        " command with --rollback goes on from there with the data in another order; if it happens"
        " again, lower the learning rates or raise gamma"
    )


def read_bad_stop(run_dir: Path) -> BadStop:
    """Return what the run left for --rollback.

    Raises:
        UserError: the run did not stop because of bad steps.
    """
    try:
        return BadStop.model_validate_json((run_dir / BAD_STEPS_NAME).read_bytes())
    except (FileNotFoundError, ValueError):
        raise UserError(
            f"--rollback: {run_dir} did not stop because of bad steps; leave --rollback out"
        ) from None
