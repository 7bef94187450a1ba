"""What a tracker costs a run: `python -m benchmarks.tracking_overhead`.

Real runs of the quickstart on one thread, wandb offline. Counted in processor time, which other
load on the machine hardly changes: of the tracker's thread, of the processes that it starts, and
of handing records over, against all of the run's. What is paid once (imports, start, end) is kept
apart from what is paid by step, and both are put together for a whole quickstart.
"""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from benchmarks.measure import benchmark
from benchmarks.record import print_table, write_record
from data_tools.build_shards import BuildOptions, build, make_plan
from t2vgan import tracking
from t2vgan.presets import PRESETS
from t2vgan.runlog import Record
from t2vgan.tracking.outbox import Outbox, Tracker
from t2vgan.trainer import Trainer

TRACKERS = ("wandb", "tensorboard")
QUICKSTART_STEPS = PRESETS["quickstart"].train.num_steps


def run(num_steps: int = 200) -> None:
    """Train with each tracker, print what it cost and write the record.

    Args:
        num_steps: Length of each run; it draws samples and is evaluated at half time and the end.
    """
    os.environ["WANDB_MODE"] = "offline"
    os.environ["WANDB_SILENT"] = "true"
    results = {}
    with tempfile.TemporaryDirectory() as name:
        data = Path(name, "data")
        options = BuildOptions(scene="circles", out=data, num_clips=1024, clips_per_shard=64)
        build(make_plan(options), data, num_workers=1)
        for tracker in TRACKERS:
            results[tracker] = train(data, Path(name, tracker), tracker, num_steps)
    print_table(
        ["tracker", "once, s", "ms a step", "share of these steps", "share of a quickstart"],
        [
            [
                name,
                f"{row['once_seconds']:.2f}",
                f"{row['step_ms']:.3f}",
                f"{row['share']:.2%}",
                f"{row['share_of_quickstart']:.2%}",
            ]
            for name, row in results.items()
        ],
    )
    record = {"num_steps": num_steps, "load_average": os.getloadavg(), "trackers": results}
    print(f"wrote {write_record('tracking_overhead', record)}")


class WatchedOutbox(Outbox):
    """Counts the processor time that it costs: to those who put, and in its thread."""

    latest: ClassVar["WatchedOutbox"]

    def __init__(self, name: str, start: Callable[[], Tracker]) -> None:
        WatchedOutbox.latest = self
        self.seconds: Counter[str] = Counter()

        def watched_start() -> Tracker:
            tracker = start()
            tracker.log = self.timed("log", tracker.log)  # type: ignore[method-assign]
            return tracker

        super().__init__(name, watched_start)

    def put(self, record: Record) -> None:
        self.timed("put", super().put)(record)

    def close(self, *patience: float) -> None:
        super().close(*patience)
        self.seconds["dropped"] = self.num_dropped

    def _work(self, start: Callable[[], Tracker]) -> None:
        self.timed("thread", super()._work)(start)

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function such that its calls and its processor seconds are counted."""

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
    preset = PRESETS["quickstart"]
    changes = {
        "run_dir": run_dir,
        "data": preset.data.model_copy(update={"path": data}),
        "train": preset.train.model_copy(update={"num_steps": num_steps}),
        "sample_every_steps": num_steps // 2,
        "evaluate_every_steps": num_steps // 2,
        "tracking": tracker,
        "num_cpu_threads": 1,
    }
    trainer = Trainer(preset.model_copy(update=changes))
    service, start = sum(os.times()[2:4]), time.process_time()
    assert trainer.run()
    if tracker == "wandb":
        import wandb

        wandb.teardown()  # its process has ended: the kernel counts what it used
    used, service = time.process_time() - start, sum(os.times()[2:4]) - service
    spent = WatchedOutbox.latest.seconds
    by_step = spent["put"] + spent["log"]
    once = spent["thread"] - spent["log"] + service
    training = used - spent["thread"] - spent["put"]
    scale = QUICKSTART_STEPS / num_steps
    return {
        "once_seconds": once,
        "of_which_its_own_processes": service,
        "step_ms": 1e3 * by_step / num_steps,
        "put_us": 1e6 * spent["put"] / spent["put calls"],
        "num_records": spent["put calls"],
        "num_dropped": spent["dropped"],
        "training_processor_seconds": training,
        "share": (once + by_step) / training,
        "share_of_quickstart": (once + by_step * scale) / (training * scale),
    }


if __name__ == "__main__":
    tracking.Outbox = WatchedOutbox  # type: ignore[assignment, misc]
    benchmark(run)
