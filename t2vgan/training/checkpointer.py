"""What a run saves of itself, how it does so while it trains on, and how it finds itself again."""

import logging
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from torch import Tensor

import t2vgan
from t2vgan.checkpoint.state_dict import (
    Snapshot,
    latest_step,
    load_checkpoint,
    publish,
    take_snapshot,
)
from t2vgan.checkpoint.weights import WeightsInfo, save_weights
from t2vgan.config import Config
from t2vgan.data.manifest import Manifest
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.tokenizer import Vocabulary
from t2vgan.tracking.metrics_log import METRICS_NAME
from t2vgan.training.run_dir import check_same_data
from t2vgan.training.state import TrainState
from t2vgan.utils.console import format_error
from t2vgan.utils.files import fsync_path

logger = logging.getLogger(__name__)


class CheckpointManager:
    """Publishes checkpoints and weights in a thread while training goes on; on the main rank.

    A save that the disk refuses is said and tried again at the next save: to stop would lose what
    is in memory. `finish` raises it.
    """

    def __init__(
        self,
        config: Config,
        game: AdversarialTraining,
        manifest: Manifest,
        vocabulary: Vocabulary,
        on_published: Callable[[TrainState, bool], None] = lambda state, is_best: None,
    ) -> None:
        self.config, self.game, self.on_published = config, game, on_published
        self.manifest, self.vocabulary = manifest, vocabulary
        self.pool = ThreadPoolExecutor(1, "saver")
        self.job: Future[float] | None = None
        self.refused: OSError | None = None
        self.best: tuple[dict[str, Tensor], WeightsInfo] | None = None  # not on disk yet

    def save(self, state: TrainState, *, is_best: bool = False) -> None:
        """Wait for the save before, copy everything to host memory, and leave the rest behind."""
        state.writing_seconds += self.wait()
        players = self.game.players
        state.loss_scales = {name: player.scaler.state_dict() for name, player in players.items()}
        optimizers = {name: player.optimizer for name, player in players.items()}
        snapshot = take_snapshot(self.game.modules, optimizers)
        copy = state.model_copy(deep=True)
        self.job = self.pool.submit(self._write, snapshot, copy, is_best)

    def wait(self) -> float:
        """Wait for the save under way, if any; return the processor seconds that it took."""
        job, self.job = self.job, None
        return job.result() if job else 0.0

    def finish(self) -> None:
        """Wait until everything is on disk; raise OSError if the last save was refused."""
        self.wait()
        if self.refused:
            raise self.refused

    def _write(self, snapshot: Snapshot, state: TrainState, is_best: bool) -> float:
        start = time.thread_time()
        try:
            self._publish(snapshot, state, is_best)
            self.on_published(state, is_best)
            self.refused = None
        except OSError as error:
            self.refused = error
            message = "step %d was not saved (%s); training goes on and tries at the next save"
            logger.warning(message, state.step, format_error(error))
        return time.thread_time() - start

    def _publish(self, snapshot: Snapshot, state: TrainState, is_best: bool) -> None:
        """Write the weights, then the checkpoint: whatever it promises is there before it."""
        run_dir = self.config.run_dir
        weights = snapshot["generator_ema.safetensors"]
        info = describe_weights(self.config, state, self.manifest, self.vocabulary)
        if is_best:
            self.best = weights, info
        save_weights(run_dir / "weights.safetensors", weights, info)
        if self.best:
            save_weights(run_dir / "weights_best.safetensors", *self.best)
            self.best = None
        if (metrics := run_dir / METRICS_NAME).exists():
            fsync_path(metrics)
        publish(
            run_dir,
            state.step,
            snapshot,
            state.model_dump(mode="json"),
            keep=self.config.keep_checkpoints,
            protect={state.best_step},
            replace=is_best,  # one of this step does not know that it is the best
        )


def find_checkpoint(run_dir: Path, *, before_bad_steps: bool) -> int | None:
    """Return the step to resume at; with `before_bad_steps`, one whose last update was good."""
    return latest_step(
        run_dir, lambda state: not (before_bad_steps and state.get("bad_steps_in_a_row"))
    )


def load_run(config: Config, game: AdversarialTraining, step: int, state: TrainState) -> None:
    """Restore the checkpoint of a step into the networks, the optimizers and the state.

    Raises:
        UserError: it was trained on other data, or does not fit the networks.
    """
    players = game.players
    optimizers = {name: player.optimizer for name, player in players.items()}
    saved = TrainState.model_validate(
        load_checkpoint(config.run_dir, step, game.modules, optimizers)
    )
    check_same_data(config, state.data_fingerprint, saved.data_fingerprint)
    for name in TrainState.model_fields:
        setattr(state, name, getattr(saved, name))
    for name, player in players.items():
        if scale := state.loss_scales.get(name):
            player.scaler.load_state_dict(scale)
    game.notes.restore(state.unread_notes)


def describe_weights(
    config: Config, state: TrainState, manifest: Manifest, vocabulary: Vocabulary
) -> WeightsInfo:
    """Return all that sampling needs to know besides the averaged generator itself."""
    return WeightsInfo(
        model=config.model,
        **manifest.geometry.model_dump(),
        fps=manifest.fps,
        words=vocabulary.words,
        prompts=tuple(manifest.prompts),
        held_out_prompts=manifest.held_out_prompts,
        step=state.step,
        clips_seen=state.clips_seen,
        t2vgan_version=t2vgan.__version__,
    )
