"""Train steps of a preset, or of the notebook's loop, on request.

A `benchmarks.training_turns.Worker` starts it. It reads numbers of steps from stdin, one per line,
and prints the cost of each as a line of JSON. PYTHONPATH must be the tree to measure; of a preset's
tree only what earlier versions also have is used.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

WARM_UP_STEPS = 3
PLAIN_LOOP = "plain loop"

TrainSteps = Callable[[int], None]


@contextmanager
def train_preset(name: str, data: Path, threads: int) -> Iterator[tuple[TrainSteps, str]]:
    """Yield a function that trains steps of a preset, and the precision."""
    from t2vgan.training.trainer import Trainer

    try:
        from t2vgan.config.presets import PRESETS
    except ImportError:  # earlier versions
        from t2vgan.presets import PRESETS  # type: ignore[no-redef]
    preset = PRESETS[name]
    changes: dict[str, Any] = {
        "data": preset.data.model_copy(update={"path": str(data)}),
        "num_cpu_threads": threads,
        "run_dir": data / "run",
    }
    if "compile" in type(preset).model_fields:
        changes["compile"] = "off"  # as in earlier versions, which do not compile
    trainer = Trainer(preset.model_copy(update=changes))
    with trainer.loader() as loader:

        def train(num_steps: int) -> None:
            for _ in range(num_steps):
                trainer.train_step(next(loader))
            trainer.gan.metrics.reduce()  # waits for the device

        yield train, str(getattr(trainer.gan, "precision", "unknown"))


@contextmanager
def train_plain_loop(folder: Path, threads: int) -> Iterator[tuple[TrainSteps, str]]:
    """Yield a function that trains the notebook's loop, and the precision."""
    from benchmarks.notebook_training import PlainLoop

    if threads:
        torch.set_num_threads(threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    loop = PlainLoop(folder, device)

    def train(num_steps: int) -> None:
        loop.run(num_steps)
        if device.type == "cuda":
            torch.cuda.synchronize()

    yield train, str(torch.get_default_dtype())


def main(way: str, data: Path, threads: int) -> None:
    """Warm up, print the precision, and train as each line asks."""
    chosen = (
        train_plain_loop(data, threads) if way == PLAIN_LOOP else train_preset(way, data, threads)
    )
    with chosen as (train, precision):
        train(WARM_UP_STEPS)
        print(json.dumps({"precision": precision}), flush=True)
        for line in sys.stdin:
            start, processor_start = time.perf_counter(), time.process_time()
            train(int(line))
            seconds, processor = time.perf_counter() - start, time.process_time() - processor_start
            print(json.dumps({"seconds": seconds, "processor_seconds": processor}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
