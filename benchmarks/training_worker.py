"""Train steps of a preset with the code of any tree.

It is part of benchmarks/training_trees.py. It reads numbers of steps from stdin, one per line, and
prints the cost of each as a line of JSON. PYTHONPATH must be the tree to measure; only what trees
of earlier versions also have is used.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from t2vgan.training.trainer import Trainer

try:
    from t2vgan.config.presets import PRESETS
except ImportError:  # earlier versions
    from t2vgan.presets import PRESETS  # type: ignore[no-redef]

WARM_UP_STEPS = 3


def main(preset_name: str, data: str, threads: int) -> None:
    preset = PRESETS[preset_name]
    changes: dict[str, Any] = {
        "data": preset.data.model_copy(update={"path": data}),
        "num_cpu_threads": threads,
        "run_dir": Path(data, "run"),
    }
    if "compile" in type(preset).model_fields:
        changes["compile"] = "off"  # as in earlier versions, which do not compile
    trainer = Trainer(preset.model_copy(update=changes))
    with trainer.loader() as loader:

        def train(num_steps: int) -> None:
            for _ in range(num_steps):
                trainer.train_step(next(loader))
            trainer.gan.metrics.reduce()  # waits for the device

        train(WARM_UP_STEPS)
        print("ready", flush=True)
        for line in sys.stdin:
            start, processor_start = time.perf_counter(), time.process_time()
            train(int(line))
            seconds, processor = time.perf_counter() - start, time.process_time() - processor_start
            print(json.dumps({"seconds": seconds, "processor_seconds": processor}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
