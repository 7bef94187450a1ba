"""Save checkpoints and weights during training, and load them to resume."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from torch import Tensor

from t2vgan.checkpoint.state_dict import (
    Snapshot,
    State,
    create_snapshot,
    find_latest_step,
    load_checkpoint,
    save_checkpoint,
)
from t2vgan.checkpoint.storage import STATE_NAME, read_state, step_folder
from t2vgan.checkpoint.weights import WeightsInfo, save_weights
from t2vgan.config import Config
from t2vgan.errors import UserError
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.tracking.metrics_log import METRICS_NAME
from t2vgan.training.run_dir import check_same_data
from t2vgan.training.state import TrainState
from t2vgan.utils.console import format_error
from t2vgan.utils.files import fsync_path
from t2vgan.utils.frozen import naming_faults

logger = logging.getLogger(__name__)

OnPublished = Callable[[WeightsInfo, bool], None]
"""Called with the description of the written weights, and whether they are the best."""


class CheckpointManager:
    """Publish checkpoints and weights in a thread; on the main rank.

    If the disk refuses a save, a warning is logged and the next save tries again, because stopping
    would lose the state in memory. `finish` raises the error.
    """

    def __init__(
        self,
        config: Config,
        gan: AdversarialTraining,
        data_fingerprint: str,
        on_published: OnPublished = lambda info, is_best: None,
    ) -> None:
        self.config, self.gan, self.on_published = config, gan, on_published
        self.data_fingerprint = data_fingerprint
        self.writing_seconds = 0.0
        """CPU time of finished saves."""
        self.pool = ThreadPoolExecutor(1, "checkpoint-writer")
        self.job: Future[float] | None = None
        self.refused: OSError | None = None
        self.best: tuple[dict[str, Tensor], WeightsInfo] | None = None  # not published yet

    def save(self, state: TrainState, info: WeightsInfo, *, is_best: bool = False) -> None:
        """Copy everything to host memory, and write it in the thread.

        Waits for the previous save."""
        self.wait()
        optimizers = {name: side.optimizer for name, side in self.gan.optimizers.items()}
        snapshot = create_snapshot(self.gan.networks, optimizers)
        self.job = self.pool.submit(self._write, snapshot, state, info, is_best)

    def wait(self) -> None:
        """Wait for the save under way, if any."""
        job, self.job = self.job, None
        self.writing_seconds += job.result() if job else 0.0

    def finish(self) -> None:
        """Wait until everything is on disk.

        Raises:
            OSError: the disk refused the last save.
        """
        self.wait()
        if self.refused:
            raise self.refused

    def _write(
        self, snapshot: Snapshot, state: TrainState, info: WeightsInfo, is_best: bool
    ) -> float:
        """Publish one save; return its CPU time in seconds."""
        start = time.thread_time()
        try:
            self._publish(snapshot, state, info, is_best)
            if self.best:  # from this save, or from one that the disk refused
                self.on_published(self.best[1], True)
            if not is_best:
                self.on_published(info, False)
            self.best, self.refused = None, None
        except OSError as error:
            self.refused = error
            message = "step %d was not saved (%s); training continues and retries at the next save"
            logger.warning(message, state.step, format_error(error))
        return time.thread_time() - start

    def _publish(
        self, snapshot: Snapshot, state: TrainState, info: WeightsInfo, is_best: bool
    ) -> None:
        """Write the weights, then the checkpoint, which implies that they exist."""
        run_dir = self.config.run_dir
        weights = snapshot["generator_ema.safetensors"]
        if is_best:
            self.best = weights, info
        save_weights(run_dir / "weights.safetensors", weights, info)
        if self.best:
            save_weights(run_dir / "weights_best.safetensors", *self.best)
        if (metrics := run_dir / METRICS_NAME).exists():
            fsync_path(metrics)
        save_checkpoint(
            run_dir,
            state.step,
            snapshot,
            state.model_dump(mode="json"),
            keep=self.config.keep_checkpoints,
            protect={state.best_step},
            replace=is_best,  # an earlier save of this step does not record that it is the best
        )

    # --- resuming, on every rank ------------------------------------------------------------------

    def find(self, *, only_finite: bool = False) -> int | None:
        """Return the step of the newest good checkpoint.

        With `only_finite`, of the newest one whose last update was finite.
        """
        return find_latest_step(
            self.config.run_dir,
            lambda state: not (only_finite and state.get("bad_steps_in_a_row")),
        )

    def load(self, step: int) -> TrainState:
        """Load networks, optimizers and loss scales of a checkpoint; return its state.

        Raises:
            UserError: the checkpoint was trained on other data, or does not fit the networks.
        """
        sides = self.gan.optimizers
        optimizers = {name: side.optimizer for name, side in sides.items()}
        run_dir = self.config.run_dir
        folder = step_folder(run_dir, step)
        state = parse_state(folder, step, read_state(folder))
        # First, because networks for other data may not fit the tensors: sizes, number of words.
        check_same_data(self.config, self.data_fingerprint, state.data_fingerprint)
        load_checkpoint(run_dir, step, self.gan.networks, optimizers)
        for name, side in sides.items():
            side.load_loss_scale(state.loss_scales.get(name, {}))
        self.writing_seconds = state.writing_seconds
        return state


def parse_state(folder: Path, step: int, fields: State) -> TrainState:
    """Parse the state of the checkpoint of a step.

    Raises:
        UserError: a field is invalid, or the step is not the one given.
    """
    remedy = "move this checkpoint away to resume from the previous one"
    with naming_faults(f"{folder / STATE_NAME}", remedy):
        state = TrainState.model_validate(fields)
    if state.step != step:
        raise UserError(f"{folder / STATE_NAME}: step={state.step} must be {step}; {remedy}")
    return state
