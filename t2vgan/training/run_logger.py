"""What a run says of itself: records, status lines, events and warnings; on the main rank."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from t2vgan.config import Config
from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.device import describe_device, describe_processes, peak_memory_gb
from t2vgan.evaluation.scores import Scores
from t2vgan.gan.adversarial import AdversarialTraining
from t2vgan.tracking import BackgroundTracker, start_tracking
from t2vgan.tracking.metrics_log import JsonlLogger
from t2vgan.training.collapse import CollapseMonitor
from t2vgan.training.run_dir import write_run_files
from t2vgan.training.state import TrainState
from t2vgan.utils.console import escape_control_chars, print_stderr
from t2vgan.utils.environment import describe_environment


class RunLogger:
    """Writes what happens to metrics.jsonl and the screen."""

    def __init__(
        self,
        config: Config,
        game: AdversarialTraining,
        processes: DistributedContext,
        state: TrainState,
    ) -> None:
        self.config, self.game, self.processes, self.state = config, game, processes, state
        self.log = JsonlLogger(config.run_dir, processes.is_main)
        self.tracker: BackgroundTracker | None = None
        self.alarms = CollapseMonitor()
        self.pace: deque[tuple[float, int]] = deque(maxlen=10)

    def open(self, changes: Sequence[str]) -> None:
        """Record how this process set out (collective)."""
        precision = str(self.game.precision).removeprefix("torch.")
        self.say(describe_processes(self.processes, precision))
        environment = describe_environment(
            device=describe_device(self.processes.device),
            world_size=self.processes.world_size,
            precision=precision,
        )
        step, order = self.state.step, self.state.rollbacks
        self.processes.run_on_main(lambda: write_run_files(self.config, environment))
        self.processes.run_on_main(lambda: self.log.truncate_after(step if step else -1))
        how = f" with data order {order}" if order else ""
        if step or order:
            self.announce(f"resumed at step {step} of {self.config.run_dir}{how}")
        for change in changes:
            self.announce(f"changed: {change}")
        if self.processes.is_main:
            self.tracker = start_tracking(self.config, environment, step)
        if self.tracker:
            self.log.listener = self.tracker.put

    def close(self, reason: str) -> None:
        """Record how this process ended (collective)."""
        state, run_dir = self.state, self.config.run_dir
        if state.step < self.config.train.num_steps:
            reason = reason or "another process stopped"
            self.announce(f"stopped at step {state.step} ({reason}); the same command resumes")
        else:
            seconds = f"{state.seconds:.0f} s of training"
            self.announce(f"complete at step {state.step} after {seconds}: {run_dir}")
        self.processes.run_on_main(self.log.close)

    def end_tracking(self) -> None:
        """Let the tracker finish: after all else, since it may take long."""
        if self.tracker:
            self.tracker.close()

    def metrics(self, notes: dict[str, float]) -> None:
        """Write a line of metrics and a status line."""
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
            **{"data/bad_samples": sum(state.bad_clips.values())},
            bad_steps=sum(state.bad_steps.values()),
            safety_seconds=state.safety_seconds,
            memory_gb=peak_memory_gb(),
            **({"untracked_records": self.tracker.num_dropped} if self.tracker else {}),
        )
        self.warn(self.alarms.hear_losses(notes))
        self.log.status(
            step=state.step,
            num_steps=self.config.train.num_steps,
            clips_seen=clips,
            clips_per_second=rate,
            loss_discriminator=notes["loss/discriminator"],
            loss_generator=notes["loss/generator"],
            seconds_left=left / rate if rate else float("nan"),
        )

    def evaluation(self, scores: Scores, diversity: float | None) -> None:
        """Write the readings of the motion meter."""
        self.write("evaluation", **scores.model_dump(), diversity=diversity)
        self.warn(self.alarms.hear_diversity(diversity))
        held_out = scores.accuracy_held_out
        self.say(
            f"step {self.state.step}: accuracy {scores.accuracy or 0:.1%}"
            + ("" if held_out is None else f", held-out prompts {held_out:.1%}")
        )

    def weights_written(self, state: TrainState, is_best: bool) -> None:
        """Offer new weights to the tracker; called from the thread that wrote them."""
        if self.tracker:
            fields = {"step": state.step, "clips_seen": state.clips_seen, "is_best": is_best}
            self.tracker.put({"kind": "weights", **fields})

    def write(self, kind: str, **fields: Any) -> None:
        """Append a record to metrics.jsonl."""
        state = self.state
        self.log.write(
            kind, step=state.step, clips_seen=state.clips_seen, seconds=state.seconds, **fields
        )

    def announce(self, message: str) -> None:
        """Record an event, and print it."""
        self.write("event", message=message)
        self.say(message)

    def warn(self, message: str | None) -> None:
        """Record a warning, if there is one, and print it."""
        if message:
            self.write("event", message=message, warning=True)
            self.say(f"warning: {message}")

    def say(self, message: str) -> None:
        """Print a line for the user."""
        if self.processes.is_main:
            print_stderr(escape_control_chars(message))  # it may quote a damaged shard
