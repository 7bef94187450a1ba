"""Measure the cost of a tracker: `python -m benchmarks.tracking_overhead`.

It trains the quickstart on one thread, with wandb offline. The cost is processor time, which other
load on the machine hardly changes: that of the tracker's thread, of the processes that it starts,
and of passing records, relative to that of the steps. One-time costs (imports, start, end) are
separated from the cost of each kind of record, which is multiplied by their number in a quickstart.
"""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.clips import SCENES, write_clips
from benchmarks.measure import benchmark, time_calls, total
from benchmarks.record import print_table, write_record
from t2vgan.config.presets import PRESETS
from t2vgan.tracking import start
from t2vgan.tracking.background import BackgroundTracker, Tracker
from t2vgan.tracking.metrics_log import Record
from t2vgan.training.trainer import Trainer

TRACKERS = ("wandb", "tensorboard")
QUICKSTART = PRESETS["quickstart"]
NUM_STEPS = QUICKSTART.train.num_steps
NUM_EVALUATIONS = NUM_STEPS // QUICKSTART.evaluate_every_steps
NUM_SAVES = NUM_STEPS // QUICKSTART.save_every_steps + NUM_EVALUATIONS  # each may be the best
NUM_RECORDS = {
    "train": NUM_STEPS // QUICKSTART.log_every_steps,
    "samples": NUM_STEPS // QUICKSTART.sample_every_steps,
    "evaluation": NUM_EVALUATIONS,
    "checkpoint": NUM_SAVES,
    "weights": NUM_SAVES,
}


def run(num_steps: int = 60) -> None:
    """Train with each tracker, print what it cost and write the record.

    Args:
        num_steps: Steps of each run, which is sampled and evaluated after each third.
    """
    os.environ["WANDB_MODE"] = "offline"
    os.environ["WANDB_SILENT"] = "true"
    results = {}
    with tempfile.TemporaryDirectory() as name:
        data = Path(name, "data")
        write_clips(data, *SCENES["quickstart"], num_clips=1024, clips_per_shard=64)
        for tracker in TRACKERS:
            results[tracker] = train(data, Path(name, tracker), tracker, num_steps)
    print_table(
        ["tracker", "once, s", *(f"{kind}, ms" for kind in NUM_RECORDS), "share of a quickstart"],
        [
            [
                name,
                f"{row['once_seconds']:.2f}",
                *(f"{row['record_ms'][kind]:.2f}" for kind in NUM_RECORDS),
                f"{row['share_of_quickstart']:.2%}",
            ]
            for name, row in results.items()
        ],
    )
    record = {"num_steps": num_steps, "load_average": os.getloadavg(), "trackers": results}
    print(f"wrote {write_record('tracking_overhead', record)}")


class TimedTracker(BackgroundTracker):
    """Count processor time of its callers and of its thread."""

    latest: ClassVar["TimedTracker"]

    def __init__(self, name: str, start: Callable[[], Tracker]) -> None:
        TimedTracker.latest = self
        self.seconds: Counter[str] = Counter()

        def timed_start() -> Tracker:
            tracker = start()
            log, close = tracker.log, tracker.close

            def timed_close() -> None:
                close()
                self.seconds["thread"] = time.thread_time()  # type: ignore[assignment]

            tracker.close = timed_close  # type: ignore[method-assign]
            tracker.log = lambda record: self.timed(record["kind"], log)(record)  # type: ignore[method-assign]
            return tracker

        super().__init__(name, timed_start)

    def put(self, record: Record) -> None:
        self.timed("put", super().put)(record)

    def close(self, *patience: float) -> None:
        super().close(*patience)
        self.seconds["dropped"] = self.num_dropped

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap the function to count its calls and processor seconds."""

        def wrapped(*arguments: Any) -> Any:
            start = time.thread_time()
            try:
                return function(*arguments)
            finally:
                self.seconds[name] += time.thread_time() - start  # type: ignore[assignment]
                self.seconds[f"{name} calls"] += 1

        return wrapped


def train(data: Path, run_dir: Path, tracker: str, num_steps: int) -> dict[str, Any]:
    """Train the quickstart with a tracker; return what both cost."""
    changes = {
        "run_dir": run_dir,
        "data": QUICKSTART.data.model_copy(update={"path": str(data)}),
        "train": QUICKSTART.train.model_copy(update={"num_steps": num_steps}),
        "sample_every_steps": num_steps // 3,
        "evaluate_every_steps": num_steps // 3,
        "tracking": tracker,
        "num_cpu_threads": 1,
    }
    trainer = Trainer(QUICKSTART.model_copy(update=changes))
    steps = time_calls(trainer.gan, "train_step")
    service = sum(os.times()[2:4])
    assert trainer.run()
    if tracker == "wandb":
        import wandb

        wandb.teardown()  # ends its process, whose time then counts
    service = sum(os.times()[2:4]) - service
    spent = TimedTracker.latest.seconds
    logged = sum(spent[kind] for kind in NUM_RECORDS)
    once = spent["thread"] - logged + service
    put = spent["put"] / spent["put calls"]
    record = {kind: put + spent[kind] / max(1, spent[f"{kind} calls"]) for kind in NUM_RECORDS}
    tracking_seconds = once + sum(NUM_RECORDS[kind] * record[kind] for kind in NUM_RECORDS)
    step = total(steps) / num_steps
    return {
        "once_seconds": once,
        "of_which_its_own_processes": service,
        "put_us": 1e6 * put,
        "record_ms": {kind: 1e3 * seconds for kind, seconds in record.items()},
        "num_records": spent["put calls"],
        "num_dropped": spent["dropped"],
        "step_ms": 1e3 * step,
        "share_of_quickstart": tracking_seconds / (NUM_STEPS * step),
    }


if __name__ == "__main__":
    start.BackgroundTracker = TimedTracker  # type: ignore[assignment, misc]
    benchmark(run)
