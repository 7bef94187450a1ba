"""A run: resume, { step; log; sample; evaluate; save }, and nothing is lost when it stops."""

import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch

from t2vgan.checkpoint.state import latest_step
from t2vgan.config import Config, check_batch_arithmetic
from t2vgan.distributed import (
    Processes,
    StopFlag,
    describe_device,
    peak_memory_gb,
    stop_on_signals,
)
from t2vgan.errors import UserError
from t2vgan.evaluation.evaluate import score_real_clips
from t2vgan.evaluation.motion import unknown_prompts
from t2vgan.evaluation.scores import Scores, compare, score_clips
from t2vgan.game import Game
from t2vgan.manifest import check_shards, load_manifest
from t2vgan.micro_batch import MicroBatch, prepare_step
from t2vgan.run_folder import check_same_run, describe_environment, write_run_files
from t2vgan.runlog import RunLog
from t2vgan.samples import prompts_of, save_samples
from t2vgan.sampling import generate_clips
from t2vgan.saving import RunState, load_run, save_run, save_run_weights
from t2vgan.seeds import derive_seed
from t2vgan.stream import Batch, ClipLoader, DataOrder
from t2vgan.text import Vocabulary, tokenize
from t2vgan.tracking import end_tracker, start_tracker

STOP_CHECK_EVERY_STEPS = 10  # with several processes, whose agreement costs a message
SAMPLING_BATCH_SIZE = 20
BAD_SAMPLES_NAMED = 10


class Trainer:
    """Trains one config in its run_dir; constructing it writes nothing."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.manifest = load_manifest(config.data.path)
        check_shards(config.data.path, self.manifest)
        self.order = DataOrder(
            counts=tuple(shard.num_samples for shard in self.manifest.shards),
            num_streams=config.data.num_streams,
            shuffle_window=config.data.shuffle_window,
            seed=derive_seed(config.train.seed, "data"),
        )
        self.vocabulary = Vocabulary.from_prompts(self.manifest.prompts)
        self.num_tokens = max(len(tokenize(prompt)) for prompt in self.manifest.prompts)
        self.processes = Processes(tracking=config.tracking, num_cpu_threads=config.num_cpu_threads)
        self.micro_batch_size = check_batch_arithmetic(config, self.processes.world_size)
        geometry = self.manifest.geometry
        if config.train.frames_per_clip > geometry.num_frames:
            raise UserError(
                f"train.frames_per_clip={config.train.frames_per_clip} must be at most the"
                f" {geometry.num_frames} frames of the clips in {config.data.path}"
            )
        self.game = Game(
            config.model,
            config.train,
            self.processes,
            height=geometry.height,
            width=geometry.width,
            vocabulary_size=len(self.vocabulary),
        )
        self.state = RunState(data_fingerprint=self.manifest.fingerprint)
        self.log = RunLog(config.run_dir, self.processes.is_main)
        self.prompts = prompts_of(self.manifest)
        self.can_evaluate = not unknown_prompts(self.prompts)
        self.pace: deque[tuple[float, int]] = deque(maxlen=10)

    def run(self) -> bool:
        """Train to the last step or until told to stop; return whether the run is complete."""
        changes = check_same_run(self.config)
        self.resume()
        state, num_steps = self.state, self.config.train.num_steps
        if state.step >= num_steps:
            self.say(f"{self.config.run_dir} is complete at step {state.step}")
            return True
        self.open_log(changes)
        with stop_on_signals() as stop, self.loader() as loader:
            while state.step < num_steps and not self.must_stop(stop):
                with self.timed():
                    self.train_step(next(loader))
                self.after_step()
        self.save()
        self.close_log(stop.reason)
        return state.step >= num_steps

    def train_step(self, batch: Batch) -> None:
        """Train on one global batch and advance the clock."""
        assert batch.step == self.state.step, "the loader and the clock agree"
        self.game.play(self.micro_batches(batch), self.state.step)
        self.state.step += 1
        self.state.clips_seen += self.config.train.global_batch_size
        self.count_bad_samples(batch)

    def micro_batches(self, batch: Batch) -> list[MicroBatch]:
        """Return a rank's part of a global batch, with its draws, on the device."""
        train = self.config.train
        return prepare_step(
            batch,
            self.vocabulary,
            list(self.manifest.prompts),
            seed=train.seed,
            global_batch_size=train.global_batch_size,
            micro_batch_size=self.micro_batch_size,
            frames_per_clip=train.frames_per_clip,
            latent_shape=self.game.latent_shape,
            fresh_latents=train.fresh_latents,
            num_tokens=self.num_tokens,
            device=self.processes.device,
        )

    def after_step(self) -> None:
        """Do what is due at this step; every rank comes along."""
        config, step = self.config, self.state.step
        is_last = step == config.train.num_steps
        if step % config.log_every_steps == 0 or is_last:
            self.log_metrics()
        if is_due(step, config.sample_every_steps, is_last):
            self.sample()
        if self.can_evaluate and is_due(step, config.evaluate_every_steps, is_last):
            self.evaluate()
        if step % config.save_every_steps == 0 and not is_last:
            self.save()

    # --- what a run writes -----------------------------------------------------------------------

    def log_metrics(self) -> None:
        """Write a line of metrics and a status line (collective)."""
        with self.timed():
            notes = self.game.read_notes()  # waits for the device: part of training time
        state = self.state
        self.pace.append((state.seconds, state.clips_seen))
        (first_seconds, first_clips), (seconds, clips) = self.pace[0], self.pace[-1]
        rate = (clips - first_clips) / (seconds - first_seconds) if seconds > first_seconds else 0
        left = self.config.train.num_steps * self.config.train.global_batch_size - clips
        self.write(
            "train",
            clips_per_second=rate,
            **notes,
            **self.game.schedule(state.step - 1),
            **{"data/bad_samples": state.bad_samples, "memory_gb": peak_memory_gb()},
        )
        self.log.status(
            step=state.step,
            num_steps=self.config.train.num_steps,
            clips_seen=clips,
            clips_per_second=rate,
            loss_discriminator=notes["loss/discriminator"],
            loss_generator=notes["loss/generator"],
            seconds_left=left / rate if rate else float("nan"),
        )

    def sample(self) -> None:
        """Draw every prompt with fixed latents: film strips for programs, a GIF for people."""
        clips = self.generate(self.prompts, [0] * len(self.prompts))
        if self.processes.is_main:
            self.write(
                "samples",
                **save_samples(self.config.run_dir, self.state.step, clips, self.manifest),
            )

    def evaluate(self) -> None:
        """Read the motion meter, and keep the weights if they are the best so far (collective)."""
        per_prompt = self.config.evaluate_clips_per_prompt
        prompts = [prompt for prompt in self.prompts for _ in range(per_prompt)]
        clips = self.generate(prompts, list(range(per_prompt)) * len(self.prompts))
        scores = score_clips(clips, prompts, self.manifest.held_out_prompts)
        diversity = compare(scores, self.scores_of_real_clips).diversity
        self.write("evaluation", **scores.model_dump(), diversity=diversity)
        accuracy, held_out = scores.accuracy or 0.0, scores.accuracy_held_out
        self.say(
            f"step {self.state.step}: accuracy {accuracy:.1%}"
            + ("" if held_out is None else f", held-out prompts {held_out:.1%}")
        )
        if accuracy > self.state.best_accuracy:
            self.state.best_accuracy, self.state.best_step = accuracy, self.state.step
            if self.processes.is_main:
                self.save_weights("weights_best.safetensors")

    @cached_property
    def scores_of_real_clips(self) -> Scores:
        """The same readings of as many real clips: what diversity is relative to."""
        num_clips = len(self.prompts) * self.config.evaluate_clips_per_prompt
        return score_real_clips(self.config.data.path, self.manifest, num_clips)

    def generate(self, prompts: Sequence[str], seeds: Sequence[int]) -> np.ndarray:
        """Return clips (N, T, H, W, 3) of the averaged generator, drawn by all ranks together."""
        rank, world_size = self.processes.rank, self.processes.world_size
        num_each = -(-len(prompts) // world_size)  # every rank draws as many, if need be twice
        places = [(rank + world_size * i) % len(prompts) for i in range(num_each)]
        clips = generate_clips(
            self.game.ema.model,
            self.vocabulary,
            [prompts[place] for place in places],
            [seeds[place] for place in places],
            num_frames=self.manifest.geometry.num_frames,
            batch_size=SAMPLING_BATCH_SIZE,
        )
        return self.processes.gather_slices(torch.from_numpy(clips)).numpy()[: len(prompts)]

    def save(self) -> None:
        """Publish a checkpoint and the current weights (collective)."""
        if self.processes.is_main:
            save_run(self.config, self.game, self.state)
            self.save_weights("weights.safetensors")
        self.processes.wait()

    def save_weights(self, name: str) -> None:
        save_run_weights(
            self.config.run_dir / name,
            self.config,
            self.game,
            self.state,
            manifest=self.manifest,
            vocabulary=self.vocabulary,
        )

    # --- beginning and end -----------------------------------------------------------------------

    def resume(self) -> None:
        """Load the newest good checkpoint, the same on every rank; without one, start at step 0."""
        found = latest_step(self.config.run_dir) if self.processes.is_main else None
        step = self.processes.agree(found)
        if step is not None:
            self.state = load_run(
                self.config, self.game, step, data_fingerprint=self.manifest.fingerprint
            )

    def open_log(self, changes: Sequence[str]) -> None:
        """Record how this process set out."""
        environment = describe_environment(
            device=describe_device(self.processes.device),
            world_size=self.processes.world_size,
            precision=str(self.game.precision).removeprefix("torch."),
        )
        if self.processes.is_main:
            write_run_files(self.config, environment)
        step = self.state.step
        self.log.truncate_after(step if step else -1)
        if step:
            self.write("event", message=f"resumed at step {step}")
            self.say(f"resumed at step {step} of {self.config.run_dir}")
        for change in changes:
            self.write("event", message=f"changed: {change}")
            self.say(f"changed: {change}")
        start_tracker(self.processes.accelerator, self.config, self.log)

    def close_log(self, reason: str) -> None:
        """Record how this process ended."""
        state = self.state
        if state.step < self.config.train.num_steps:
            message = f"stopped at step {state.step} ({reason or 'another process stopped'})"
            self.say(f"{message}; the same command resumes")
        else:
            message = f"complete at step {state.step} after {state.seconds:.0f} s of training"
            self.say(f"{message}: {self.config.run_dir}")
        self.write("event", message=message)
        self.log.close()
        end_tracker(self.processes.accelerator, self.config)
        self.processes.end()

    # --- small things ----------------------------------------------------------------------------

    def loader(self) -> ClipLoader:
        """Return a loader that stands at the current step."""
        return ClipLoader(
            self.config.data.path,
            self.manifest,
            self.order,
            global_batch_size=self.config.train.global_batch_size,
            rank=self.processes.rank,
            world_size=self.processes.world_size,
            start_step=self.state.step,
            num_threads=self.config.data.num_threads,
            verify_checksums=self.config.data.verify_checksums,
        )

    def count_bad_samples(self, batch: Batch) -> None:
        """Name clips that could not be used, and stop when they are too many."""
        state, limit = self.state, self.config.data.max_bad_fraction
        for bad in batch.bad_samples:
            state.bad_samples += 1
            if state.bad_samples <= BAD_SAMPLES_NAMED:
                message = f"bad sample {bad.key} in {bad.shard}: {bad.reason}"
                self.write("event", message=message)
                self.say(f"warning: {message}; a neighbour takes its place")
        read = state.clips_seen // self.processes.world_size
        if batch.bad_samples and state.bad_samples > max(1, limit * read):
            raise UserError(
                f"{state.bad_samples} of {read} clips could not be decoded, more than"
                f" data.max_bad_fraction={limit}; last: {batch.bad_samples[-1].reason}"
                f" (run python -m data_tools.verify_shards {self.config.data.path})"
            )

    def must_stop(self, stop: StopFlag) -> bool:
        """Return whether any rank was asked to stop (collective every few steps)."""
        if self.processes.world_size == 1:
            return stop.is_set()
        return self.state.step % STOP_CHECK_EVERY_STEPS == 0 and self.processes.any(stop.is_set())

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Count the time inside as training time."""
        start = time.perf_counter()
        yield
        self.state.seconds += time.perf_counter() - start

    def write(self, kind: str, **fields: Any) -> None:
        """Append a record to metrics.jsonl, on the main rank."""
        state = self.state
        self.log.write(
            kind, step=state.step, clips_seen=state.clips_seen, seconds=state.seconds, **fields
        )

    def say(self, message: str) -> None:
        """Print a line for the user, on the main rank."""
        if self.processes.is_main:
            print(message, file=sys.stderr, flush=True)


def is_due(step: int, every_steps: int, is_last: bool) -> bool:
    return every_steps > 0 and (step % every_steps == 0 or is_last)
