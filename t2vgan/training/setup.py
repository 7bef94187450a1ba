"""Create the parts of a run, and resume from its checkpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import torch

from t2vgan.checkpoint.weights import WeightsInfo
from t2vgan.config import Config
from t2vgan.data.batch_plan import check_frames_per_clip, plan_batches
from t2vgan.data.loader import ClipLoader
from t2vgan.distributed.context import DistributedContext, stop_without_peers
from t2vgan.errors import UserError
from t2vgan.models.layers import RGB
from t2vgan.training.checkpointer import CheckpointManager
from t2vgan.training.data import create_loader, create_preparer, describe_data, open_data_on_all
from t2vgan.training.evaluator import Evaluator
from t2vgan.training.health.alarms import AlarmMonitor
from t2vgan.training.health.faults import FaultMonitor
from t2vgan.training.health.nonfinite import NonFiniteStop
from t2vgan.training.lengthening import adapt_lengths
from t2vgan.training.model import TrainedModel
from t2vgan.training.run_dir import check_same_run, read_lengths
from t2vgan.training.run_logger import RunLogger
from t2vgan.training.state import TrainingClock, TrainState
from t2vgan.utils.console import first_line


class RunSetup:
    """The parts of a run and their state; the constructor writes nothing.

    `rollback` resumes from before a series of nonfinite steps, with the data in another order.
    `mode` names the command, which must be the same on all ranks.
    """

    @stop_without_peers()
    def __init__(self, config: Config, *, rollback: bool = False, mode: str = "train") -> None:
        self.config, self.rollback = config, rollback
        self.context = context = DistributedContext(
            num_cpu_threads=config.num_cpu_threads,
            timeout_seconds=config.timeout_seconds,
            mode=f"{mode} --rollback" if rollback else mode,
        )
        self.data = data = open_data_on_all(context, config)
        self.manifest = manifest = data.manifest
        self.plan = context.run_on_all(lambda: plan_batches(config, context.world_size))
        num_frames = manifest.geometry.num_frames
        context.run_on_all(lambda: check_frames_per_clip(config, num_frames))
        self.model = TrainedModel(config, context, data)
        self.gan, self.vocabulary = self.model.gan, self.model.vocabulary
        self.preparer = create_preparer(
            config, context, data, self.vocabulary, self.plan, self.gan.latent_shape
        )
        self.clock = TrainingClock(config.train.global_batch_size)
        geometry = manifest.geometry
        num_values = config.train.frames_per_clip * geometry.height * geometry.width * RGB
        self.alarms = AlarmMonitor(config.train, num_values)
        self.logger = RunLogger(config, context, self.clock, self.alarms, self.gan.progress)
        self.evaluator = context.run_on_all(
            lambda: Evaluator(config, context, data, self.vocabulary, self.logger)
        )
        self.checkpoints = CheckpointManager(
            config, self.gan, manifest.fingerprint, self.logger.track_weights
        )
        self.faults = FaultMonitor(
            config, context, self.gan, self.clock, self.logger, self.checkpoints
        )
        self.changes: list[str] = []
        """Lines on options changed since the run was started, schedules and initial weights."""
        self.was_compiled: bool | None = None
        """Whether the networks of the checkpoint were compiled; None without a checkpoint."""

    def state_dict(self) -> TrainState:
        """Return the state of a checkpoint besides tensors (collective)."""
        return TrainState(
            data_fingerprint=self.manifest.fingerprint,
            step=self.clock.step,
            clips_seen=self.clock.clips_seen,
            seconds=self.clock.training.seconds,
            safety_seconds=self.clock.safety.seconds,
            waiting_seconds=self.clock.waiting.seconds,
            writing_seconds=self.checkpoints.writing_seconds,
            bad_clips=self.faults.bad_samples.counts.copy(),
            bad_steps=self.faults.nonfinite.counts.copy(),
            bad_steps_in_a_row=self.faults.nonfinite.in_a_row,
            rollbacks=self.faults.rollbacks,
            schedule_lengths=list(self.gan.lengths),
            alarms=self.alarms.state_dict(),
            best_accuracy=self.evaluator.best_accuracy,
            best_step=self.evaluator.best_step,
            compiled=self.gan.losses.is_compiled,
            loss_scales=self.gan.loss_scales,
            unread_notes=self.gan.metrics.state_dict(),
        )

    @property
    def weights_info(self) -> WeightsInfo:
        """Description of the current averaged generator."""
        return self.model.weights_info(self.clock)

    def load_state_dict(self, state: TrainState) -> None:
        """Restore the state besides tensors, loss scales and schedule lengths."""
        self.clock.load(state)
        self.faults.load(state)
        self.alarms.load_state_dict(state.alarms)
        self.evaluator.set_best(state.best_accuracy, state.best_step)
        self.gan.metrics.load_state_dict(state.unread_notes)
        self.was_compiled = state.compiled

    def resume(self) -> list[str]:
        """Load the newest valid checkpoint, the same on every rank (collective).

        Without one, training starts at step 0. Returns the kinds of records (samples, evaluation)
        that are still pending at the checkpoint's step.
        """
        context, run_dir, rollback = self.context, self.config.run_dir, self.rollback
        changes = context.run_on_main(lambda: check_same_run(self.config))
        self.changes = [f"changed: {change}" for change in changes]
        stop = context.run_on_main(lambda: NonFiniteStop.read(run_dir)) if rollback else None
        step = context.run_on_main(lambda: self.checkpoints.find(only_finite=rollback))
        if step is not None:
            state = context.run_on_all(partial(self.checkpoints.load, step))
            self.load_state_dict(state)
            lengths = state.schedule_lengths or context.run_on_main(lambda: read_lengths(run_dir))
            adapted, message = adapt_lengths(lengths, self.config.train, step)
            self.gan.set_lengths(adapted)
            self.changes += [message] if message else []
        if stop is not None:
            self.faults.roll_back(stop)
        if step is None:
            self.changes += self.model.initialize()
            return []
        self.model.read_origin()
        done = context.run_on_main(lambda: self.logger.log_file.read_kinds(step))
        return self.evaluator.find_pending(step, done)

    def describe_data(self) -> list[str]:
        """Describe how the data are prepared and shown, as lines."""
        return describe_data(
            self.config,
            self.data,
            tokenizer=self.vocabulary.tokenizer,
            pixels=self.model.pixels,
            augmented_share=self.preparer.augmented_share,
        )

    @property
    def is_complete(self) -> bool:
        """Whether the last step is done."""
        return self.clock.step >= self.config.train.num_steps

    @contextmanager
    def explain_lack_of_memory(self) -> Iterator[None]:
        """Turn a GPU's lack of memory into one line with remedies.

        Raises:
            UserError: the GPU has too little memory for the step.
        """
        try:
            yield
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"rank {self.context.rank}: its GPU has too little memory for passes of"
                f" {self.plan.micro_size} clips; use a smaller --train.micro-batch-size,"
                f" --train.gradient-checkpointing on, or more processes ({first_line(error)})"
            ) from error

    def loader(self) -> ClipLoader:
        """Return a loader that starts at the current step."""
        start = self.clock.step
        return create_loader(
            self.config, self.data, self.preparer, start_step=start, rollbacks=self.faults.rollbacks
        )
