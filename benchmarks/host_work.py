"""Measure the main thread's cost of a training step besides the networks.

`python -m benchmarks.host_work` measures processor milliseconds of the training loop, without the
losses and their backward passes. On a GPU this is host work, which should finish before the device
does. On a CPU it includes the arithmetic of optimizers, weight average and batches, so the
narrowest possible networks are measured too: they have as many tensors, but only launch costs.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.clips import write_clips
from benchmarks.measure import benchmark, time_calls, total
from benchmarks.record import print_table, write_record
from t2vgan.config.presets import PRESETS
from t2vgan.training.trainer import Trainer

NARROW = {"latent_size": 8, "text_size": 8, "hidden_size": 8, "channels": 4}
WARM_UP_STEPS = 10


def run(preset: str = "quickstart", size: str = "64x64", num_steps: int = 60) -> None:
    """Train with the preset's networks and with narrow ones; print and record.

    Args:
        preset: Preset of a clip GAN.
        size: Height x width of its clips.
        num_steps: Steps of each network; medians are reported.
    """
    own = PRESETS[preset].model
    narrow = own.model_copy(update=NARROW)
    smallest = "x".join(2 * [str(4 * narrow.patch_size)])  # type: ignore[union-attr]
    rows = {
        f"{preset}, {size}": measure(preset, own, size, num_steps),
        f"narrow, {smallest}": measure(preset, narrow, smallest, num_steps),
    }
    parts = list(next(iter(rows.values())))
    print_table(
        ["ms a step", *parts],
        [[name, *(f"{row[part]:.3f}" for part in parts)] for name, row in rows.items()],
    )
    print(f"wrote {write_record('host_work', {'num_steps': num_steps, 'ms_a_step': rows})}")


def measure(preset: str, model: Any, size: str, num_steps: int) -> dict[str, float]:
    """Train a new run; return processor milliseconds by part of a step."""
    config = PRESETS[preset]
    with tempfile.TemporaryDirectory() as name:
        write_clips(Path(name), "circles", size)
        last = WARM_UP_STEPS + num_steps
        train = config.train.model_copy(update={"num_steps": last + 1})
        changes = {
            "run_dir": Path(name, "run"),
            "data": config.data.model_copy(update={"path": name}),
            "model": model,
            "train": train,
            "sample_every_steps": 0,
            "evaluate_every_steps": 0,
            "num_cpu_threads": 1,
            "compile": "off",
        }
        trainer = Trainer(config.model_copy(update=changes))
        fakes = time_calls(trainer.gan, "add_fakes")
        gradients = time_calls(trainer.gan, "compute_gradients")
        whole = time_calls(trainer.gan, "train_step")
        steps = time_calls(trainer, "train_step")
        trainer.run()
    timed = range(WARM_UP_STEPS, last)
    losses = [total([fakes[i], *gradients[2 * i : 2 * i + 2]]) for i in range(last)]

    def milliseconds(seconds: Callable[[int], float]) -> float:
        return 1000 * median(map(seconds, timed))

    parts = {
        "losses": milliseconds(lambda i: losses[i]),
        "the rest": milliseconds(lambda i: steps[i + 1][0] - steps[i][0] - losses[i]),
        "of it optimizers, average, metrics": milliseconds(lambda i: total([whole[i]]) - losses[i]),
        "preparing the batch": milliseconds(lambda i: total([steps[i]]) - total([whole[i]])),
    }
    loop = milliseconds(lambda i: steps[i + 1][0] - steps[i][1])
    return {**parts, "data and status": loop}


if __name__ == "__main__":
    benchmark(run)
