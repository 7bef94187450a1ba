"""Measure the main thread's cost of a training step besides the networks.

`python -m benchmarks.host_work` measures processor milliseconds of the training loop, without the
losses and their backward passes. On a GPU this is host work, which should finish before the device
does. On a CPU it includes the arithmetic of optimizers, weight average and batches, so the
narrowest possible networks are measured too: they have as many tensors, but only launch costs.

A GPU replays most of a step as graphs. The last row is the host work that remains then: captured
steps of the narrow networks, whose replays do nothing. On a GPU each of the six launches a graph.
"""

import tempfile
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

import torch

from benchmarks.clips import write_clips
from benchmarks.measure import benchmark, time_calls, total
from benchmarks.record import print_table, write_record
from t2vgan.config.presets import PRESETS
from t2vgan.gan.step_graph import StepGraphs
from t2vgan.training.trainer import Trainer

NARROW = {"latent_size": 8, "text_size": 8, "hidden_size": 8, "channels": 4}
WARM_UP_STEPS = 10

T = TypeVar("T")


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
        f"narrow, {smallest}, captured": measure(
            preset, narrow, smallest, num_steps, is_captured=True
        ),
    }
    parts = list(next(iter(rows.values())))
    print_table(
        ["ms a step", *parts],
        [[name, *(f"{row[part]:.3f}" for part in parts)] for name, row in rows.items()],
    )
    print(f"wrote {write_record('host_work', {'num_steps': num_steps, 'ms_a_step': rows})}")


def measure(
    preset: str, model: Any, size: str, num_steps: int, *, is_captured: bool = False
) -> dict[str, float]:
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
            "log_every_steps": last + 1,
            "num_cpu_threads": 1,
            "compile": "off",
        }
        trainer = Trainer(config.model_copy(update=changes))
        if is_captured:
            trainer.gan.graphs = StepGraphs(torch.device("cpu"), EmptyReplays(), required=True)
        losses = time_calls(trainer.gan, "add_fakes"), time_calls(trainer.gan, "compute_gradients")
        whole = time_calls(trainer.gan, "train_step")
        steps = time_calls(trainer, "train_step")
        trainer.run()
    starts = [start for start, _ in steps]

    def milliseconds(seconds: Callable[[int], float]) -> float:
        return 1000 * median(map(seconds, range(WARM_UP_STEPS, last)))

    def losses_of(step: int) -> float:
        calls = (call for call in chain(*losses) if starts[step] <= call[0] < starts[step + 1])
        return total(calls)

    parts = {
        "losses": milliseconds(losses_of),
        "the rest": milliseconds(lambda i: starts[i + 1] - starts[i] - losses_of(i)),
        "of it optimizers, average, metrics": milliseconds(
            lambda i: total([whole[i]]) - losses_of(i)
        ),
        "preparing the batch": milliseconds(lambda i: total([steps[i]]) - total([whole[i]])),
    }
    loop = milliseconds(lambda i: starts[i + 1] - steps[i][1])
    return {**parts, "data and status": loop}


class EmptyReplays:
    """A `Capture` whose replays return what the function returned, without any work."""

    def warm_up(self, function: Callable[[], T]) -> T:
        """Call the function."""
        return function()

    def __call__(self, function: Callable[[], T]) -> Callable[[], T]:
        """Call the function once."""
        output = function()
        return lambda: output


if __name__ == "__main__":
    benchmark(run)
