"""A run: resume, { step; log; sample; evaluate; save }, and nothing is lost when it stops."""

import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager

from t2vgan.checkpoint.storage import list_steps
from t2vgan.config import Config, check_batch_arithmetic, check_frames
from t2vgan.data.loader import BadSample, Batch, ClipLoader
from t2vgan.data.mixture_sampler import MixtureSampler
from t2vgan.distributed.context import DelayedAllReduce, DistributedContext, is_lost_connection
from t2vgan.distributed.heartbeat import Heartbeat
from t2vgan.distributed.rank_check import check_ddp_consistency
from t2vgan.distributed.stragglers import ForwardTimer, compare_ranks
from t2vgan.errors import RunStoppedError
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.gan.batch import MicroBatch, prepare_step
from t2vgan.gan.mismatched_prompts import MismatchedPrompts
from t2vgan.tokenizer import Vocabulary, tokenize
from t2vgan.training.bad_samples import check_bad_clips, count_bad_clips
from t2vgan.training.checkpointer import CheckpointManager, find_checkpoint, load_run
from t2vgan.training.evaluator import Evaluator
from t2vgan.training.nonfinite import NonFiniteSteps, bad_stop, read_bad_stop, record_bad_stop
from t2vgan.training.run_dir import check_same_run
from t2vgan.training.run_lock import check_shared, locked
from t2vgan.training.run_logger import RunLogger
from t2vgan.training.signals import stop_on_signals
from t2vgan.training.startup import check_start
from t2vgan.training.state import TrainState
from t2vgan.utils.files import remove_leftovers
from t2vgan.utils.seeds import derive_seed


class Trainer:
    """Trains one config in its run_dir; constructing it writes nothing.

    `launcher` is what `find_launcher` said when this process began; its death stops the run.
    `rollback` goes on from before a run of bad steps, with the data in another order.
    """

    def __init__(
        self, config: Config, *, launcher: int | None = None, rollback: bool = False
    ) -> None:
        self.config = config
        self.launcher = launcher
        self.rollback = rollback
        self.processes = DistributedContext(
            num_cpu_threads=config.num_cpu_threads, timeout_seconds=config.timeout_seconds
        )
        self.data = check_start(self.processes, config)
        self.manifest = self.data.manifest
        self.order = self.processes.run_on_all(lambda: self.data_order(rollbacks=0))
        self.vocabulary = Vocabulary.from_prompts(self.manifest.prompts, config.data.max_words)
        self.other_prompts = MismatchedPrompts(
            list(self.manifest.prompts), config.train.hard_mismatched_share
        )
        self.num_tokens = max(len(tokenize(prompt)) for prompt in self.manifest.prompts)
        self.micro_batch_size = self.processes.run_on_all(
            lambda: check_batch_arithmetic(config, self.processes.world_size)
        )
        geometry = self.manifest.geometry
        check_frames(config, geometry.num_frames)
        self.game = AdversarialTraining(
            config.model,
            config.train,
            self.processes,
            height=geometry.height,
            width=geometry.width,
            vocabulary_size=len(self.vocabulary),
        )
        networks = [player.network for player in self.game.players.values()]
        self.stopwatch = ForwardTimer(networks, self.processes.device)
        self.state = TrainState(data_fingerprint=self.manifest.fingerprint)
        self.diary = RunLogger(config, self.game, self.processes, self.state)
        self.readings = Evaluator(self.diary, self.data, self.vocabulary)
        self.saver = CheckpointManager(
            config, self.game, self.manifest, self.vocabulary, self.diary.weights_written
        )
        self.heartbeat = Heartbeat(
            config.run_dir, rank=self.processes.rank, world_size=self.processes.world_size
        )
        self.bad_steps = NonFiniteSteps(self.game, self.state, config.max_bad_steps)
        self.tally = DelayedAllReduce(self.processes)
        self.stopping = False  # agreed over ranks

    def run(self) -> bool:
        """Train to the last step or until told to stop; return whether the run is complete."""
        with stop_on_signals(self.launcher) as self.stop, ExitStack() as alone:
            word = self.processes.run_on_main(lambda: self.lock_run_dir(alone))
            self.processes.run_on_all(lambda: check_shared(self.config.run_dir, word))
            alone.callback(self.diary.end_tracking)
            alone.callback(self.saver.wait)  # however this ends: what is under way gets there
            with self.heartbeat, self.report_lost_ranks():
                changes = self.processes.run_on_main(lambda: check_same_run(self.config))
                owed = self.resume()
                if self.is_at_end and not owed:
                    self.diary.say(f"{self.config.run_dir} is complete at step {self.state.step}")
                    self.processes.shutdown()
                    return True
                self.diary.open(changes)
                if self.state.step == 0:
                    self.readings.record_data()
                if (best := self.observe(owed)) is not None:
                    self.save(best=best)
                self.train()
                self.finish()
        return self.is_at_end

    def train(self) -> None:
        """Train to the last step, or until any rank is told to stop."""
        is_first = True
        with self.loader() as loader:
            while not (self.is_at_end or self.stopping):
                with self.clock("waiting for data", "seconds"):
                    batch = next(loader)
                with self.clock("training", "seconds"):
                    self.train_step(batch)
                self.after_step(batch)
                if is_first:
                    is_first = False
                    self.processes.set_timeout(self.config.timeout_seconds)
                    self.heartbeat.expect_within(self.config.timeout_seconds)

    def train_step(self, batch: Batch) -> None:
        """Train on one global batch and advance the clock."""
        assert batch.step == self.state.step, "the loader and the clock agree"
        self.game.play(self.micro_batches(batch), self.state.step)
        self.bad_steps.remember(self.state.step, batch.keys)
        self.state.step += 1
        self.state.clips_seen += self.config.train.global_batch_size

    def micro_batches(self, batch: Batch) -> list[MicroBatch]:
        """Return a rank's part of a global batch, with its draws, on the device."""
        train = self.config.train
        return prepare_step(
            batch,
            self.vocabulary,
            self.other_prompts,
            seed=train.seed,
            global_batch_size=train.global_batch_size,
            micro_batch_size=self.micro_batch_size,
            frames_per_clip=train.frames_per_clip,
            latent_shape=self.game.latent_shape,
            fresh_latents=train.fresh_latents,
            num_tokens=self.num_tokens,
            device=self.processes.device,
        )

    def after_step(self, batch: Batch) -> None:
        """Do what is due at this step; every rank comes along."""
        config, step = self.config, self.state.step
        with self.clock("listening to the others", "safety_seconds"):
            news = [int(self.stop.is_set()), len(batch.bad_samples)]
            self.hear(self.tally.exchange(news, batch.bad_samples))
            if is_due(step, config.check_ranks_every_steps):
                check_ddp_consistency(self.processes, self.game.modules, step)
        if is_due(step, config.log_every_steps) or self.is_at_end:
            with self.clock("logging", "seconds"):
                notes = self.game.notes.read()  # waits for the device: part of training time
                notes |= compare_ranks(self.processes, self.stopwatch.read())
            self.read_bad_steps()
            self.diary.metrics(notes)
        best = self.observe(self.readings.due())
        if best is not None or (is_due(step, config.save_every_steps) and not self.is_at_end):
            self.save(best=best)

    def hear(self, sums: tuple[list[int], list[BadSample]] | None) -> None:
        """Learn from all ranks whether to stop, and which clips were bad (collective)."""
        (num_stops, num_bad), bad_samples = sums or ([0, 0], [])
        self.stopping = self.stopping or num_stops > 0
        if num_bad:
            every = [bad for part in self.processes.gather_objects(bad_samples) for bad in part]
            for message in count_bad_clips(self.state, every):
                self.diary.warn(message)
            check_bad_clips(self.state, self.config.data, every[-1])

    # --- what is due now and then ----------------------------------------------------------------

    def observe(self, kinds: Collection[str]) -> float | None:
        """Sample and evaluate; return the accuracy if it is the best so far (collective).

        What is not finished when the run is told to stop is done when it resumes.
        """
        if not kinds or self.stopping:
            return None
        with self.clock("sampling or evaluating"):
            best, is_finished = self.readings.take(kinds, self.stop.is_set)
        self.stopping = not is_finished
        return best

    def save(self, *, best: float | None = None, is_final: bool = False) -> None:
        """Publish a checkpoint and weights while training goes on (collective).

        `best` is their accuracy if it is the best so far. While updates cannot be applied there is
        nothing good to save, except at the end.
        """
        start = time.perf_counter()
        with self.clock("saving", "safety_seconds"):
            self.hear(self.tally.receive())
            self.read_bad_steps()
            if self.state.bad_steps_in_a_row and not is_final:
                return
            check_ddp_consistency(self.processes, self.game.modules, self.state.step)
            if best is not None:
                self.state.best_accuracy, self.state.best_step = best, self.state.step
            self.state.unread_notes = self.game.notes.unread()
            if self.processes.is_main:
                self.saver.save(self.state, is_best=best is not None)
        self.diary.write("checkpoint", stall_seconds=time.perf_counter() - start)

    def read_bad_steps(self) -> None:
        """Name the steps that were not applied; stop when they are too many (collective)."""
        for message in self.bad_steps.read():
            self.diary.warn(message)
        if self.bad_steps.are_too_many:
            raise self.processes.run_on_main(self.end_of_bad_steps)

    def end_of_bad_steps(self) -> RunStoppedError:
        """Leave word for --rollback and return the error that says so; for the main rank."""
        self.saver.wait()
        record_bad_stop(self.config.run_dir, self.state)
        return bad_stop(self.state, max(list_steps(self.config.run_dir), default=None))

    # --- beginning and end -----------------------------------------------------------------------

    def lock_run_dir(self, alone: ExitStack) -> str:
        """Lock the run_dir and clear what killed writers left in it; for the main rank.

        Returns the word that the lock file holds.
        """
        run_dir = self.config.run_dir
        word = alone.enter_context(locked(run_dir))
        for folder in (run_dir, run_dir / "samples"):
            remove_leftovers(folder)
        return word

    def resume(self) -> list[str]:
        """Load the newest good checkpoint, the same on every rank; without one, start at step 0.

        Returns the readings that its step still owes.
        """
        run_dir, rollback = self.config.run_dir, self.rollback
        stop = self.processes.run_on_main(lambda: read_bad_stop(run_dir)) if rollback else None
        step = self.processes.run_on_main(
            lambda: find_checkpoint(run_dir, before_bad_steps=rollback)
        )
        if step is not None:
            load_run(self.config, self.game, step, self.state)
        if stop is not None:
            self.state.rollbacks = stop.rollbacks_after(self.state.rollbacks)
        self.order = self.data_order(self.state.rollbacks)
        if step is None:
            return []
        return self.readings.due(
            done=self.processes.run_on_main(lambda: self.diary.log.kinds_at(step))
        )

    def finish(self) -> None:
        """Save, wait until everything is on disk, and record how this process ended."""
        self.stop.is_saving = True
        self.save(is_final=True)
        with self.clock("finishing"):
            self.processes.wait_for_main(self.saver.finish)
        self.diary.close(self.stop.reason)
        self.processes.shutdown()

    @contextmanager
    def report_lost_ranks(self) -> Iterator[None]:
        """Say who is missing, and where, when a message to another rank fails."""
        try:
            yield
        except RuntimeError as error:
            if not (self.processes.is_distributed and is_lost_connection(error)):
                raise
            self.heartbeat.listen()
            raise RunStoppedError(
                f"another process is gone or too slow; {self.heartbeat.report()}; the same command"
                f" resumes from the last checkpoint ({str(error).splitlines()[0]})"
            ) from error

    # --- small things ----------------------------------------------------------------------------

    @property
    def is_at_end(self) -> bool:
        return self.state.step >= self.config.train.num_steps

    def data_order(self, rollbacks: int) -> MixtureSampler:
        """Return the order of the data; every rollback chooses another one."""
        again = [rollbacks] if rollbacks else []
        return self.data.order(
            num_streams=self.config.data.num_streams,
            shuffle_window=self.config.data.shuffle_window,
            seed=derive_seed(self.config.train.seed, "data", *again),
        )

    def loader(self) -> ClipLoader:
        """Return a loader that stands at the current step."""
        data = self.config.data
        return ClipLoader(
            self.data,
            self.order,
            global_batch_size=self.config.train.global_batch_size,
            rank=self.processes.rank,
            world_size=self.processes.world_size,
            start_step=self.state.step,
            num_threads=data.num_threads,
            verify_checksums=data.verify_checksums,
            read_timeout_seconds=data.read_timeout_seconds,
        )

    @contextmanager
    def clock(self, doing: str, name: str = "") -> Iterator[None]:
        """Say what this rank does, and add the time inside to one of the state's clocks."""
        self.heartbeat.at(self.state.step, doing)
        start = time.perf_counter()
        try:
            yield
        finally:
            if name:
                passed = time.perf_counter() - start
                setattr(self.state, name, getattr(self.state, name) + passed)


def is_due(step: int, every_steps: int) -> bool:
    return every_steps > 0 and step > 0 and step % every_steps == 0
