"""Train: resume, { step; log; sample; evaluate; save }, stop."""

import time
from collections.abc import Collection, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext

from t2vgan.config import Config
from t2vgan.distributed.consistency import check_network_consistency
from t2vgan.distributed.context import stop_without_peers
from t2vgan.distributed.heartbeat import Heartbeat
from t2vgan.distributed.peer_monitor import PeerMonitor, report_lost_ranks
from t2vgan.distributed.stragglers import compare_ranks
from t2vgan.gan.batch import HostBatch
from t2vgan.pipeline import TextToVideo
from t2vgan.training.run_lock import lock_run_dir
from t2vgan.training.setup import RunSetup
from t2vgan.training.signals import stop_on_signals
from t2vgan.training.state import Timer, is_due


class Trainer(RunSetup):
    """Train one config in its run_dir.

    `launcher` is what `find_launcher` returned when this process began; its death stops the run.
    """

    def __init__(
        self, config: Config, *, launcher: int | None = None, rollback: bool = False
    ) -> None:
        super().__init__(config, rollback=rollback)
        self.launcher = launcher
        self.heartbeat = Heartbeat(
            config.run_dir, rank=self.context.rank, world_size=self.context.world_size
        )
        self.monitor = PeerMonitor(self.context, self.heartbeat, config.timeout_seconds)
        self.stopping = False
        """Whether any rank was asked to stop; the same on all ranks."""

    @stop_without_peers()
    def run(self) -> bool:
        """Train until complete or stopped; return whether it is complete."""
        with (
            stop_on_signals(self.launcher) as self.stop,
            lock_run_dir(self.context, self.config.run_dir),
            closing(self),
            self.heartbeat,
            report_lost_ranks(self.context, self.heartbeat),
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
        """Train until the last step, or until a rank must stop."""
        # Until then functions are compiled: that of the penalty at its first step.
        start_ends = self.clock.step + 1
        if self.gan.losses.is_compiled:
            start_ends += self.config.train.penalty_every_steps
        with self.loader() as loader:
            while not (self.is_complete or self.stopping):
                waiting = self.timed("waiting for data", self.clock.training)
                with waiting, self.clock.waiting.measure():
                    batch = next(loader)
                with self.timed("training", self.clock.training):
                    self.train_step(batch)
                self.after_step(batch)
                if self.clock.step == start_ends:
                    self.context.set_timeout(self.config.timeout_seconds)
                    self.heartbeat.set_timeout(self.config.timeout_seconds)

    def train_step(self, batch: HostBatch) -> None:
        """Train on one global batch and advance the clock."""
        assert batch.step == self.clock.step, "the loader and the clock disagree"
        with self.explain_lack_of_memory():
            self.gan.train_step(self.preparer.load(batch), batch.step)
        self.faults.nonfinite.add_step(batch.step, batch.keys)
        self.clock.step += 1

    def after_step(self, batch: HostBatch) -> None:
        """Do what is due at this step (collective)."""
        config, step = self.config, self.clock.step
        with self.timed("exchanging status", self.clock.safety):
            self.stopping |= self.faults.exchange(self.stop.is_set(), batch.bad_samples)
            if is_due(step, config.check_ranks_every_steps):
                check_network_consistency(self.context, self.gan.networks, step)
        if is_due(step, config.log_every_steps) or self.is_complete:
            self.log_metrics()
        best = self.sample_and_evaluate(self.evaluator.find_pending(step))
        if best is not None or (is_due(step, config.save_every_steps) and not self.is_complete):
            self.save(best=best)

    def log_metrics(self) -> None:
        """Log the average metrics since the last record (collective)."""
        with self.timed("logging", self.clock.training):
            metrics = self.gan.metrics.reduce()  # waits for the device: part of training time
            metrics |= compare_ranks(self.context, self.gan.compute_timer.read())
        self.faults.check_nonfinite()
        metrics |= self.gan.schedule_metrics(self.clock.step - 1)
        self.logger.log_metrics(metrics | self.faults.count())

    def sample_and_evaluate(self, kinds: Collection[str]) -> float | None:
        """Sample and evaluate; return the accuracy if it is the best (collective).

        Work interrupted by a stop request is done on resume.
        """
        if not kinds or self.stopping:
            return None
        pipeline = TextToVideo(self.gan.ema.model, self.vocabulary, self.weights_info)
        with self.timed("sampling or evaluating"):
            best, is_finished = self.evaluator.run(pipeline, kinds, self.stop.is_set)
        self.stopping = not is_finished
        return best

    def save(self, *, best: float | None = None, is_final: bool = False) -> None:
        """Publish a checkpoint and weights while training goes on (collective).

        `best` is their accuracy if it is the best so far. If the last step was nonfinite, nothing
        is saved, except at the end.
        """
        start = time.perf_counter()
        with self.timed("saving", self.clock.safety):
            self.stopping |= self.faults.finish_exchange()
            self.faults.check_nonfinite()
            if self.faults.nonfinite.in_a_row and not is_final:
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

    # --- beginning and end -----------------------------------------------------------------------

    def start(self, pending: Collection[str]) -> None:
        """Open the logs, then sample and evaluate what is pending."""
        is_new = self.clock.step == 0
        if is_new:
            self.model.write_origin()
        self.changes += self.model.compile(before=self.was_compiled)
        precision = str(self.gan.precision).removeprefix("torch.")
        self.logger.open(
            precision=precision,
            compiled=self.gan.losses.is_compiled,
            rollbacks=self.faults.rollbacks,
            changes=self.changes,
            schedule_lengths=self.gan.lengths,
            tokenizer=self.vocabulary.tokenizer,
        )
        if is_new:
            for line in self.describe_data():
                self.logger.log_event(line)
            self.evaluator.log_data()
        with self.timed("training the probe of the evaluation"):
            self.stopping = not self.evaluator.load_probe(self.stop.is_set)
        if (best := self.sample_and_evaluate(pending)) is not None:
            self.save(best=best)

    def finish(self) -> None:
        """Save, wait for the disk, and log how the run ended."""
        self.stop.start_saving()
        self.save(is_final=True)
        with self.timed("finishing"):
            self.context.wait_for_main(self.checkpoints.finish)
        self.logger.close(self.stop.reason)

    def close(self) -> None:
        """Wait for the pending save and for the tracker."""
        try:
            self.checkpoints.wait()
        finally:
            self.logger.end_tracking()

    @contextmanager
    def timed(self, activity: str, timer: Timer | None = None) -> Iterator[None]:
        """Show the activity in the heartbeat, and time it."""
        self.heartbeat.update(self.clock.step, activity)
        measured: AbstractContextManager[None] = timer.measure() if timer else nullcontext()
        with measured:
            yield
