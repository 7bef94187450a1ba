"""Log metrics, events and warnings to metrics.jsonl, the terminal and the tracker."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from t2vgan.checkpoint.weights import WeightsInfo
from t2vgan.config import Config
from t2vgan.distributed.context import DistributedContext
from t2vgan.distributed.device import describe_device, describe_processes, peak_memory_gb
from t2vgan.evaluation.clip_numbers import ClipNumbers
from t2vgan.evaluation.scores import Scores
from t2vgan.gan.schedules import Length
from t2vgan.tracking import BackgroundTracker, start_tracking
from t2vgan.tracking.metrics_log import JsonlLogger, format_status
from t2vgan.training.health.alarms import FINDINGS, AlarmChange, AlarmMonitor
from t2vgan.training.health.variety import Variety
from t2vgan.training.run_dir import write_run_files
from t2vgan.training.state import TrainingClock
from t2vgan.utils.console import count_of, escape_control_chars, print_stderr
from t2vgan.utils.environment import describe_environment

RATE_RECORDS = 10  # over which the rate is averaged


class RunLogger:
    """Write the run's records and status lines; on the main rank."""

    def __init__(
        self,
        config: Config,
        context: DistributedContext,
        clock: TrainingClock,
        alarms: AlarmMonitor,
        compute_progress: Callable[[int], float],
    ) -> None:
        self.config, self.context, self.clock, self.alarms = config, context, clock, alarms
        self.compute_progress = compute_progress
        self.log_file = JsonlLogger(config.run_dir, context.is_main)
        self.tracker: BackgroundTracker | None = None
        self.recent: deque[tuple[float, int]] = deque(maxlen=RATE_RECORDS)  # (seconds, clips)

    def open(
        self,
        *,
        precision: str,
        compiled: bool,
        rollbacks: int,
        changes: Sequence[str],
        schedule_lengths: Sequence[Length],
        tokenizer: int,
    ) -> None:
        """Write config.json and run.json, and start tracking (collective).

        `changes` are lines on options that changed since the run was started, on schedules and on
        initial weights.
        """
        self.print(describe_processes(self.context, precision))
        environment = describe_environment(
            device=describe_device(self.context.device),
            world_size=self.context.world_size,
            precision=precision,
        ) | {"compiled": compiled, "schedule_lengths": schedule_lengths, "tokenizer": tokenizer}
        step = self.clock.step

        def open_files() -> None:
            write_run_files(self.config, environment)
            self.log_file.truncate_after(step if step else -1)
            self.log_file.open()

        self.context.run_on_main(open_files)
        order = f" with data order {rollbacks}" if rollbacks else ""
        if step or rollbacks:
            self.log_event(f"resumed at step {step} of {self.config.run_dir}{order}")
        for change in changes:
            self.log_event(change)
        if self.context.is_main:
            self.tracker = start_tracking(self.config, environment, step)
        if self.tracker:
            self.log_file.forward_to(self.tracker.put)

    def close(self, reason: str) -> None:
        """Log how this process ended, and close metrics.jsonl (collective)."""
        step, run_dir = self.clock.step, self.config.run_dir
        if step < self.config.train.num_steps:
            reason = reason or "another process stopped"
            self.log_event(f"stopped at step {step} ({reason}); the same command resumes")
        else:
            active = self.alarms.active
            alarms = f", with {count_of(len(active), 'alarm')}," if active else ""
            seconds = f"{self.clock.training.seconds:.0f} s of training"
            self.log_event(f"complete{alarms} at step {step} after {seconds}: {run_dir}")
            for name in active:
                self.print(f"alarm: {FINDINGS[name]}")
        self.context.run_on_main(self.log_file.close)

    def end_tracking(self) -> None:
        """Wait for the tracker; called last, because it may be slow."""
        if self.tracker:
            self.tracker.close()

    def log_metrics(self, metrics: Mapping[str, float]) -> None:
        """Write a record of metrics and a status line."""
        num_clips = self.config.train.num_steps * self.config.train.global_batch_size
        rate = self._update_rate()
        self.log(
            "train",
            clips_per_second=rate,
            **metrics,
            safety_seconds=self.clock.safety.seconds,
            waiting_seconds=self.clock.waiting.seconds,
            memory_gb=peak_memory_gb(self.context.device),
            **({"untracked_records": self.tracker.num_dropped} if self.tracker else {}),
        )
        self.log_alarms(self.alarms.check_metrics(metrics, self.progress))
        status = format_status(
            step=self.clock.step,
            num_steps=self.config.train.num_steps,
            clips_seen=self.clock.clips_seen,
            clips_per_second=rate,
            loss_discriminator=metrics["loss/discriminator"],
            loss_generator=metrics["loss/generator"],
            seconds_left=(num_clips - self.clock.clips_seen) / rate if rate else float("nan"),
        )
        self.print(status)

    def _update_rate(self) -> float:
        """Return the clips per second over the last records."""
        self.recent.append((self.clock.training.seconds, self.clock.clips_seen))
        (first_seconds, first_clips), (seconds, clips) = self.recent[0], self.recent[-1]
        return (clips - first_clips) / (seconds - first_seconds) if seconds > first_seconds else 0

    def log_evaluation(self, scores: Scores, diversity: float | None) -> None:
        """Write a record of an evaluation, and print its accuracy."""
        self.log("evaluation", **scores.model_dump(), diversity=diversity)
        held_out = scores.accuracy_held_out
        self.print(
            f"step {self.clock.step}: accuracy {scores.accuracy or 0:.1%}"
            + ("" if held_out is None else f", held-out prompts {held_out:.1%}")
        )

    def log_numbers(self, numbers: ClipNumbers, notes: Sequence[str]) -> None:
        """Write a record of an evaluation without a meter; print its agreement."""
        fields = numbers.model_dump(exclude={"agreement": {"real_confusion"}})
        missing = "the meter does not know these prompts"
        self.log("evaluation", accuracy_missing=missing, clip_numbers=fields, notes=list(notes))
        line = f"step {self.clock.step}: text-video agreement "
        if (agreement := numbers.agreement) is None or agreement.accuracy is None:
            self.print(f"{line}not measured: {'; '.join(notes)}")
        else:
            self.print(f"{line}{agreement.accuracy:.1%} (real clips {agreement.real:.1%})")

    def log_variety(self, variety: Variety) -> None:
        """Write a record of the differences between prompts and between seeds."""
        self.log("variety", prompts=variety.prompts, seeds=variety.seeds, **asdict(variety))
        self.log_alarms(self.alarms.check_variety(variety, self.progress))

    def log_alarms(self, changes: Sequence[AlarmChange]) -> None:
        """Log and print alarms that were raised or are over."""
        for change in changes:
            state = {"over": True} if change.is_over else {"warning": True}
            self.log("event", message=change.message, alarm=change.name, **state)
            self.print(f"alarm: {change.message}")

    @property
    def progress(self) -> float:
        """Progress of the schedules, 0 to 1."""
        return self.compute_progress(self.clock.step)

    def track_weights(self, info: WeightsInfo, is_best: bool) -> None:
        """Send a record of new weights to the tracker.

        Called in the thread that writes them.
        """
        if self.tracker:
            fields = {"step": info.step, "clips_seen": info.clips_seen, "is_best": is_best}
            self.tracker.put({"kind": "weights", **fields})

    @property
    def moment(self) -> dict[str, Any]:
        """The fields of every record that give its step and time."""
        clock = self.clock
        return {
            "step": clock.step,
            "clips_seen": clock.clips_seen,
            "seconds": clock.training.seconds,
        }

    def log(self, kind: str, **fields: Any) -> None:
        """Append a record to metrics.jsonl."""
        self.log_at(self.moment, kind, **fields)

    def log_at(self, moment: Mapping[str, Any], kind: str, /, **fields: Any) -> None:
        """Append a record with the fields of an earlier `moment`."""
        self.log_file.write(kind, **moment, **fields)

    def log_event(self, message: str) -> None:
        """Log an event, and print it."""
        self.log("event", message=message)
        self.print(message)

    def log_warning(self, message: str | None) -> None:
        """Log a warning, if there is one, and print it."""
        if message:
            self.log("event", message=message, warning=True)
            self.print(f"warning: {message}")

    def print(self, message: str) -> None:
        """Print a line on the main rank."""
        if self.context.is_main:
            print_stderr(escape_control_chars(message))  # it may quote a damaged shard
