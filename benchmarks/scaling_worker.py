"""Train steps for benchmarks/scaling.py, under torchrun.

It reads numbers of steps from stdin, one per line, and prints the cost of each as a line of JSON.
Between turns all ranks sleep, so that groups of different sizes can take turns on the same machine.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from t2vgan.config.presets import PRESETS
from t2vgan.data.loader import ClipLoader
from t2vgan.distributed.context import DistributedContext
from t2vgan.training.preflight.link import measure_link
from t2vgan.training.trainer import Trainer

WARM_UP_STEPS = 3


def main(data: Path, global_batch_size: int) -> None:
    preset = PRESETS["quickstart"]
    train = preset.train.model_copy(update={"global_batch_size": global_batch_size})
    update = {"path": str(data), "num_streams": 8}
    changes = {"data": preset.data.model_copy(update=update), "train": train, "num_cpu_threads": 1}
    trainer = Trainer(preset.model_copy(update=changes))
    processes = trainer.context
    with trainer.loader() as loader:
        train_steps(trainer, loader, WARM_UP_STEPS)
        print_on_main(processes, describe(trainer))
        while num_steps := processes.broadcast(int(input()) if processes.is_main else 0):
            print_on_main(processes, timed(trainer, loader, num_steps))
    processes.shutdown()


def describe(trainer: Trainer) -> dict[str, Any]:
    """Return the gradients' sizes and the measured link."""
    sizes = {
        name: sum(p.numel() * p.element_size() for p in side.network.parameters())
        for name, side in trainer.gan.optimizers.items()
    }
    link = vars(measure_link(trainer.context)) if trainer.context.is_distributed else None
    return {"world_size": trainer.context.world_size, "gradient_bytes": sizes, "link": link}


def train_steps(trainer: Trainer, loader: ClipLoader, num_steps: int) -> None:
    for _ in range(num_steps):
        trainer.train_step(next(loader))
    trainer.gan.metrics.reduce()


def timed(trainer: Trainer, loader: ClipLoader, num_steps: int) -> dict[str, Any]:
    """Train; return seconds, processor seconds by rank, and loopback bytes."""
    trainer.context.gather_objects(None)  # so that all ranks start together
    sent, start, processor_start = loopback_bytes(), time.perf_counter(), time.process_time()
    train_steps(trainer, loader, num_steps)
    seconds, processor = time.perf_counter() - start, time.process_time() - processor_start
    sent = loopback_bytes() - sent
    by_rank = trainer.context.gather_objects(processor)
    return {"seconds": seconds, "processor_seconds": by_rank, "bytes": sent}


def loopback_bytes() -> int:
    """Return bytes sent through this network namespace's loopback so far."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    (fields,) = [line.split() for line in lines if line.strip().startswith("lo:")]
    return int(fields[9])


def print_on_main(processes: DistributedContext, what: dict[str, Any]) -> None:
    if processes.is_main:
        print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
