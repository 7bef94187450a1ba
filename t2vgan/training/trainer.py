"""Train: resume, { step; log; sample; evaluate; save }, stop."""

import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext

from t2vgan.checkpoint.storage import list_steps
from t2vgan.checkpoint.weights import TextEncoderInfo, WeightsInfo
from t2vgan.config import ClipGanConfig, Config
from t2vgan.data.batch_plan import check_frames_per_clip, plan_batches
from t2vgan.data.loader import BadSample, ClipLoader
from t2vgan.distributed.consistency import check_network_consistency
from t2vgan.distributed.context import DelayedAllReduce, DistributedContext, is_lost_connection
from t2vgan.distributed.heartbeat import Heartbeat
from t2vgan.distributed.peer_monitor import PeerMonitor, lost_rank_error
from t2vgan.distributed.stragglers import compare_ranks
from t2vgan.errors import RunStoppedError
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.gan.batch import HostBatch
from t2vgan.gan.compilation import choose_compilation
from t2vgan.gan.step_graph import CudaCapture, StepGraphs, choose_cuda_graphs
from t2vgan.models.layers import RGB
from t2vgan.models.text_encoders import set_word_states
from t2vgan.pipeline import TextToVideo
from t2vgan.training.alarms import AlarmMonitor
from t2vgan.training.bad_samples import BadSamples
from t2vgan.training.checkpointer import CheckpointManager, build_weights_info
from t2vgan.training.evaluator import Evaluator
from t2vgan.training.feed import create_loader, create_preparer, create_vocabulary
from t2vgan.training.initial_weights import (
    find_initial_weights,
    grow_vocabulary,
    load_initial_weights,
    write_initial_weights,
)
from t2vgan.training.lengthening import adapt_lengths
from t2vgan.training.nonfinite import NonFiniteSteps, NonFiniteStop, nonfinite_error
from t2vgan.training.run_dir import check_same_run, read_lengths, read_tokenizer
from t2vgan.training.run_lock import lock_run_dir
from t2vgan.training.run_logger import RunLogger
from t2vgan.training.signals import stop_on_signals
from t2vgan.training.startup import (
    describe_captions,
    find_pixel_statistics,
    format_pixels,
    open_data_on_all,
    without_mismatched,
)
from t2vgan.training.state import Timer, TrainingClock, TrainState, is_due
from t2vgan.training.text_states import (
    load_text_states,
    read_text_encoder,
    write_text_encoder,
)


class Trainer:
    """Train one config in its run_dir; constructing it writes nothing.

    `launcher` is what `find_launcher` returned when this process began; its death stops the run.
    `rollback` resumes from before consecutive nonfinite steps, with the data in another order.
    `mode` is what all ranks were started for.
    """

    def __init__(
        self,
        config: Config,
        *,
        launcher: int | None = None,
        rollback: bool = False,
        mode: str = "train",
    ) -> None:
        self.config, self.launcher, self.rollback = config, launcher, rollback
        self.context = context = DistributedContext(
            num_cpu_threads=config.num_cpu_threads,
            timeout_seconds=config.timeout_seconds,
            mode=f"{mode} --rollback" if rollback else mode,
        )
        self.data = data = open_data_on_all(context, config)
        self.manifest = manifest = data.manifest
        self.plan = context.run_on_all(lambda: plan_batches(config, context.world_size))
        geometry = manifest.geometry
        check_frames_per_clip(config, geometry.num_frames)
        tokenizer = context.run_on_main(lambda: read_tokenizer(config.run_dir))
        self.vocabulary = create_vocabulary(config, manifest, tokenizer)
        self.initial_weights = context.run_on_main(lambda: find_initial_weights(config))
        if self.initial_weights:
            self.vocabulary = grow_vocabulary(self.vocabulary, self.initial_weights.words)
        self.pixels = find_pixel_statistics(context, data) if config.train.standardize else None
        self.gan = AdversarialTraining(
            config.model,
            without_mismatched(config.train, manifest),
            context,
            height=geometry.height,
            width=geometry.width,
            vocabulary_size=len(self.vocabulary),
            pixels=self.pixels,
        )
        if self.context.run_on_all(self.choose_cuda_graphs):
            self.gan.graphs = StepGraphs(
                context.device, CudaCapture(), required=config.cuda_graphs == "on"
            )
        self.preparer = create_preparer(
            config, context, data, self.vocabulary, self.plan, self.gan.latent_shape
        )
        self.clock = TrainingClock(config.train.global_batch_size)
        self.rollbacks = 0
        num_values = config.train.frames_per_clip * geometry.height * geometry.width * RGB
        self.alarms = AlarmMonitor(config.train, num_values)
        self.logger = RunLogger(config, context, self.clock, self.alarms, self.gan.progress)
        self.evaluator = Evaluator(config, context, data, self.vocabulary, self.logger)
        self.checkpoints = CheckpointManager(
            config, self.gan, manifest.fingerprint, self.logger.track_weights
        )
        self.nonfinite = NonFiniteSteps(self.gan, config.max_bad_steps)
        self.bad_samples = BadSamples(config.data)
        self.rank_status = DelayedAllReduce(context)
        self.heartbeat = Heartbeat(config.run_dir, rank=context.rank, world_size=context.world_size)
        self.monitor = PeerMonitor(context, self.heartbeat, config.timeout_seconds)
        self.text_encoder: TextEncoderInfo | None = None
        self.changes: list[str] = []
        """Lines on options that changed since the run was started, and on initial weights."""
        self.was_compiled: bool | None = None
        """Whether the networks of the checkpoint were compiled; None without a checkpoint."""
        self.stopping = False
        """Whether any rank received a stop request; the same on all ranks."""

    def run(self) -> bool:
        """Train until complete or stopped; return whether it is complete."""
        with (
            stop_on_signals(self.launcher) as self.stop,
            lock_run_dir(self.context, self.config.run_dir),
            closing(self),
            self.heartbeat,
            self.report_lost_ranks(),
        ):
            with self.monitor:
                pending = self.resume()
                if self.is_complete and not pending:
                    run_dir, step = self.config.run_dir, self.clock.step
                    self.logger.print(f"{run_dir} is complete at step {step}")
                else:
                    self.start(pending)
                    self.train()
                    self.finish()
            self.context.shutdown()
        return self.is_complete

    # --- the loop --------------------------------------------------------------------------------

    def train(self) -> None:
        """Train to the last step, or until a rank must stop."""
        is_first = True
        with self.loader() as loader:
            while not (self.is_complete or self.stopping):
                waiting = self.timed("waiting for data", self.clock.training)
                with waiting, self.clock.waiting.measure():
                    batch = next(loader)
                with self.timed("training", self.clock.training):
                    self.train_step(batch)
                self.after_step(batch)
                if is_first:
                    is_first = False
                    self.context.set_timeout(self.config.timeout_seconds)
                    self.heartbeat.set_timeout(self.config.timeout_seconds)

    def train_step(self, batch: HostBatch) -> None:
        """Train on one global batch and advance the clock."""
        assert batch.step == self.clock.step, "the loader and the clock disagree"
        self.gan.train_step(self.preparer.prepare(batch), batch.step)
        self.nonfinite.add_step(batch.step, batch.keys)
        self.clock.step += 1

    def after_step(self, batch: HostBatch) -> None:
        """Do what is due at this step (collective)."""
        config, step = self.config, self.clock.step
        with self.timed("exchanging status", self.clock.safety):
            status = [int(self.stop.is_set()), len(batch.bad_samples)]
            self.handle_rank_status(self.rank_status.all_reduce(status, batch.bad_samples))
            if is_due(step, config.check_ranks_every_steps):
                check_network_consistency(self.context, self.gan.networks, step)
        if is_due(step, config.log_every_steps) or self.is_complete:
            self.log_metrics()
        best = self.sample_and_evaluate(self.evaluator.find_pending(step))
        if best is not None or (is_due(step, config.save_every_steps) and not self.is_complete):
            self.save(best=best)

    def log_metrics(self) -> None:
        """Average and log the metrics since the last record (collective)."""
        with self.timed("logging", self.clock.training):
            metrics = self.gan.metrics.reduce()  # waits for the device: part of training time
            metrics |= compare_ranks(self.context, self.gan.compute_timer.read())
        self.check_nonfinite()
        metrics |= self.gan.schedule_metrics(self.clock.step - 1)
        counts = {"data/bad_samples": self.bad_samples.total, "bad_steps": self.nonfinite.total}
        self.logger.log_metrics(metrics | counts)

    def handle_rank_status(self, status: tuple[list[int], list[BadSample]] | None) -> None:
        """Agree over ranks on stopping, and count bad samples (collective)."""
        (num_stops, num_bad), bad_samples = status or ([0, 0], [])
        self.stopping = self.stopping or num_stops > 0
        if num_bad:
            every = [bad for part in self.context.gather_objects(bad_samples) for bad in part]
            for message in self.bad_samples.update(every):
                self.logger.log_warning(message)
            with self.context.fail_together():
                self.bad_samples.check(self.clock.clips_seen, every[-1])

    def check_nonfinite(self) -> None:
        """Log steps that were not applied; raise after too many (collective)."""
        for message in self.nonfinite.gather():
            self.logger.log_warning(message)
        if self.nonfinite.are_too_many:
            raise self.context.run_on_main(self.stop_nonfinite)

    def stop_nonfinite(self) -> RunStoppedError:
        """Write the record for --rollback, and return the error."""
        self.checkpoints.wait()
        run_dir, step = self.config.run_dir, self.clock.step
        NonFiniteStop(step=step, rollbacks=self.rollbacks).write(run_dir)
        last_checkpoint = max(list_steps(run_dir), default=None)
        return nonfinite_error(self.nonfinite.in_a_row, step, last_checkpoint)

    def sample_and_evaluate(self, kinds: Collection[str]) -> float | None:
        """Sample and evaluate; return the accuracy if it is the best (collective).

        Work that a stop request interrupts is done on resume.
        """
        if not kinds or self.stopping:
            return None
        pipeline = TextToVideo(self.gan.ema.model, self.vocabulary, self.weights_info)
        with self.timed("sampling or evaluating"):
            best, is_finished = self.evaluator.run(
                pipeline, kinds, self.clock.step, self.stop.is_set
            )
        self.stopping = not is_finished
        return best

    def save(self, *, best: float | None = None, is_final: bool = False) -> None:
        """Publish a checkpoint and weights while training goes on (collective).

        `best` is their accuracy if it is the best so far. While updates are not finite checkpoints
        are skipped, except at the end.
        """
        start = time.perf_counter()
        with self.timed("saving", self.clock.safety):
            self.handle_rank_status(self.rank_status.wait())
            self.check_nonfinite()
            if self.nonfinite.in_a_row and not is_final:
                return
            check_network_consistency(self.context, self.gan.networks, self.clock.step)
            self.monitor.check()
            if best is not None:
                self.evaluator.set_best(best, self.clock.step)
            self.checkpoints.wait()
            state = self.state_dict()
            if self.context.is_main:
                self.evaluator.save_waiting()  # records come before the checkpoint of their step
                self.checkpoints.save(state, self.weights_info, is_best=best is not None)
        self.logger.log("checkpoint", stall_seconds=time.perf_counter() - start)

    # --- state -----------------------------------------------------------------------------------

    def state_dict(self) -> TrainState:
        """Return what a checkpoint holds besides tensors (collective)."""
        return TrainState(
            data_fingerprint=self.manifest.fingerprint,
            step=self.clock.step,
            clips_seen=self.clock.clips_seen,
            seconds=self.clock.training.seconds,
            safety_seconds=self.clock.safety.seconds,
            waiting_seconds=self.clock.waiting.seconds,
            writing_seconds=self.checkpoints.writing_seconds,
            bad_clips=self.bad_samples.counts.copy(),
            bad_steps=self.nonfinite.counts.copy(),
            bad_steps_in_a_row=self.nonfinite.in_a_row,
            rollbacks=self.rollbacks,
            schedule_lengths=list(self.gan.lengths),
            alarms=self.alarms.held.copy(),
            best_accuracy=self.evaluator.best_accuracy,
            best_step=self.evaluator.best_step,
            compiled=self.gan.losses.is_compiled,
            loss_scales=self.gan.loss_scales,
            unread_notes=self.gan.metrics.state_dict(),
        )

    @property
    def weights_info(self) -> WeightsInfo:
        """Describe the averaged generator as it is now."""
        return build_weights_info(
            self.config, self.manifest, self.vocabulary, self.clock, self.text_encoder
        )

    def load_state_dict(self, state: TrainState) -> None:
        """Restore everything but tensors and what belongs to them."""
        self.clock.load(state)
        self.bad_samples.load(state.bad_clips)
        self.nonfinite.load(state)
        self.alarms.held = state.alarms.copy()
        self.rollbacks = state.rollbacks
        self.evaluator.set_best(state.best_accuracy, state.best_step)
        self.gan.metrics.load_state_dict(state.unread_notes)
        self.was_compiled = state.compiled

    def resume(self) -> list[str]:
        """Load the newest valid checkpoint, the same on every rank (collective).

        Without one, training starts at step 0. Returns what is still to be sampled and evaluated
        at the checkpoint's step.
        """
        context, run_dir, rollback = self.context, self.config.run_dir, self.rollback
        changes = context.run_on_main(lambda: check_same_run(self.config))
        self.changes = [f"changed: {change}" for change in changes]
        stop = context.run_on_main(lambda: NonFiniteStop.read(run_dir)) if rollback else None
        step = context.run_on_main(lambda: self.checkpoints.find(only_finite=rollback))
        if step is not None:
            state = self.checkpoints.load(step)
            self.load_state_dict(state)
            lengths = state.schedule_lengths or context.run_on_main(lambda: read_lengths(run_dir))
            self.gan.lengths, message = adapt_lengths(lengths, self.config.train, step)
            self.changes += [message] if message else []
        if stop is not None:
            self.rollbacks = stop.rollbacks_after(self.rollbacks)
        if step is None:
            self.changes += self.load_initial_weights()
            self.load_text_states()
            return []
        self.text_encoder = context.run_on_main(lambda: read_text_encoder(run_dir))
        done = context.run_on_main(lambda: self.logger.log_file.read_kinds(step))
        return self.evaluator.find_pending(step, done)

    def compile_networks(self) -> None:
        """Compile the networks if this run does (collective)."""
        device, before = self.context.device, self.was_compiled
        is_compiled, message = self.context.run_on_all(
            lambda: choose_compilation(self.config.compile, device, before=before)
        )
        self.changes += [message] if message else []
        if not self.context.any(not is_compiled):
            self.gan.compile_networks(is_optional=self.config.compile == "auto")

    def load_initial_weights(self) -> list[str]:
        """Load the weights of --init-from, if any; return their account."""
        weights, geometry = self.initial_weights, self.manifest.geometry
        if weights is None:
            return []
        size = geometry.height, geometry.width
        lines = self.context.run_on_all(
            lambda: load_initial_weights(self.config, self.gan, weights, self.vocabulary, size)
        )
        return [f"init_from: {line}" for line in lines]

    def load_text_states(self, *, keep: bool = True) -> None:
        """Set the words' states of the sentence encoder, if any.

        A checkpoint holds it. `keep` as in `text_states.load_text_states`.
        """
        config, gan = self.config, self.gan
        if not isinstance(config.model, ClipGanConfig) or not config.model.has_sentence_encoder:
            return
        prompts = list(self.manifest.prompts)
        self.text_encoder, states = self.context.run_on_main(
            lambda: load_text_states(config, self.vocabulary, prompts, keep=keep)
        )
        for network in (gan.generator.network, gan.discriminator.network, gan.ema.model):
            set_word_states(network, states)

    # --- beginning and end -----------------------------------------------------------------------

    def start(self, pending: Collection[str]) -> None:
        """Open the logs, then sample and evaluate what is pending."""
        if (weights := self.initial_weights) and self.clock.step == 0:
            self.context.run_on_main(lambda: write_initial_weights(self.config.run_dir, weights))
        if (encoder := self.text_encoder) and self.clock.step == 0:
            self.context.run_on_main(lambda: write_text_encoder(self.config.run_dir, encoder))
        self.compile_networks()
        precision = str(self.gan.precision).removeprefix("torch.")
        self.logger.open(
            precision=precision,
            compiled=self.gan.losses.is_compiled,
            rollbacks=self.rollbacks,
            changes=self.changes,
            schedule_lengths=self.gan.lengths,
            tokenizer=self.vocabulary.tokenizer,
        )
        if self.clock.step == 0:
            if self.pixels:
                self.logger.log_event(format_pixels(self.data, self.pixels))
            if share := self.preparer.augmented_share:
                self.logger.log_event(
                    f"{share:.0%} of the clips are augmented, in each of three ways"
                    f" ({self.manifest.num_samples} clips; train.augment changes it)"
                )
            for line in (*self.describe_captions(), *self.describe_epochs()):
                self.logger.log_event(line)
            self.evaluator.log_data()
        with self.timed("training the probe of the evaluation"):
            self.stopping = not self.evaluator.load_probe(self.stop.is_set)
        if (best := self.sample_and_evaluate(pending)) is not None:
            self.save(best=best)

    def finish(self) -> None:
        """Save, wait for the disk, and log how the run ended."""
        self.stop.is_saving = True
        self.save(is_final=True)
        with self.timed("finishing"):
            self.context.wait_for_main(self.checkpoints.finish)
        self.logger.close(self.stop.reason)

    def close(self) -> None:
        """Wait for the save under way and for the tracker."""
        try:
            self.checkpoints.wait()
        finally:
            self.logger.end_tracking()

    @contextmanager
    def report_lost_ranks(self) -> Iterator[None]:
        """Name the missing ranks when a collective fails."""
        try:
            yield
        except RuntimeError as error:
            if not (self.context.is_distributed and is_lost_connection(error)):
                raise
            raise lost_rank_error(self.heartbeat, str(error).splitlines()[0]) from error

    # --- helpers ---------------------------------------------------------------------------------

    def describe_captions(self) -> list[str]:
        """Describe clips without captions, and captions that are cut."""
        return describe_captions(self.config, self.manifest, self.vocabulary.tokenizer)

    def describe_epochs(self) -> list[str]:
        """Describe clips that epochs leave out, and that batches repeat."""
        return self.data.describe_epochs(
            num_streams=self.config.data.num_streams, global_batch_size=self.plan.global_size
        )

    @property
    def is_complete(self) -> bool:
        """Whether the last step is done."""
        return self.clock.step >= self.config.train.num_steps

    def choose_cuda_graphs(self) -> bool:
        """Return whether steps are replayed as CUDA graphs."""
        return choose_cuda_graphs(self.config.cuda_graphs, self.context.device, self.gan.precision)

    def loader(self) -> ClipLoader:
        """Return a loader that starts at the current step."""
        start = self.clock.step
        return create_loader(
            self.config, self.data, self.preparer, start_step=start, rollbacks=self.rollbacks
        )

    @contextmanager
    def timed(self, activity: str, timer: Timer | None = None) -> Iterator[None]:
        """Show the activity in the heartbeat, and time it."""
        self.heartbeat.update(self.clock.step, activity)
        measured: AbstractContextManager[None] = timer.measure() if timer else nullcontext()
        with measured:
            yield
