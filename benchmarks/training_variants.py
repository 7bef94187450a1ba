"""Compare training steps in bfloat16, and compiled ones, with plain ones.

`python -m benchmarks.training_variants --preset quickstart` measures clips/s of all in one process,
in turns of whole penalty intervals, so that other load affects them equally. It also reports after
how many steps the time of compiling, from an empty cache, is regained.
"""

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

from benchmarks.clips import SCENES, write_clips
from benchmarks.measure import benchmark, print_summary, run_turns, summarise
from benchmarks.record import write_record
from t2vgan.config.presets import PRESETS
from t2vgan.distributed.device import describe_device
from t2vgan.gan.compilation import CACHE_VARIABLE
from t2vgan.training.trainer import Trainer

PLAIN = "float32"

Variant = Literal["bfloat16", "float32, compiled", "bfloat16, compiled"]


def run(
    preset: str = "quickstart",
    variants: tuple[Variant, ...] = ("bfloat16", "float32, compiled", "bfloat16, compiled"),
    turns: int = 7,
    threads: int = 0,
    penalty: str = "exact",
) -> None:
    """Time float32 and the variants turn by turn; print and record.

    Args:
        preset: Preset whose networks and recipe are used.
        variants: Variants to compare with float32; compiling takes minutes on a CPU.
        turns: Turns of each; medians of rates and of the turns' ratios are reported.
        threads: PyTorch threads on a CPU; 0 uses every core.
        penalty: exact or approximate, in all variants.
    """
    with tempfile.TemporaryDirectory() as name:
        os.environ[CACHE_VARIABLE] = str(Path(name, "compiled"))
        folder = Path(name, "shards")
        write_clips(folder, *SCENES[preset], num_clips=400, clips_per_shard=50)
        train = PRESETS[preset].train
        every, clips = train.penalty_every_steps or 8, train.global_batch_size
        ways: dict[str, Callable[[], None]] = {}
        first_seconds: dict[str, float] = {}
        for variant in (PLAIN, *variants):
            precision = "bf16" if variant.startswith("bfloat16") else "no"
            trainer = make_trainer(preset, folder, threads, precision=precision, penalty=penalty)
            if "compiled" in variant:
                trainer.gan.compile_networks()
            ways[variant] = partial(train_interval, trainer, prepare_batches(trainer), every)
            start = time.perf_counter()
            ways[variant]()
            first_seconds[variant] = time.perf_counter() - start
        summary = summarise(run_turns(ways, turns), every * clips)
    print_summary("clips/s", summary)
    seconds = {variant: clips / row["median"] for variant, row in summary.items()}  # a step
    compiling = {}
    for variant in (variant for variant in variants if "compiled" in variant):
        spent = first_seconds[variant] - every * seconds[variant]
        won = seconds[variant.removesuffix(", compiled")] - seconds[variant]
        compiling[variant] = {"seconds": spent, "steps_to_win_back": spent / won}
        print(f"compiling {variant} took {spent:.0f} s, won back after {spent / won:.0f} steps")
    record = {
        "device_name": describe_device(trainer.context.device),
        "preset": preset,
        "penalty": penalty,
        "threads": threads,
        "compiling": compiling,
        "clips_per_second": summary,
    }
    device = trainer.context.device.type
    path = write_record(f"training_variants-{preset}-{penalty}", record, device=device)
    print(f"wrote {path}")


def train_interval(trainer: Trainer, batches: list[Any], every: int) -> None:
    """Train the steps from one penalty to the next."""
    for step in range(every):
        trainer.gan.train_step(batches[step % every != 0], step)
    trainer.gan.metrics.reduce()  # waits for the device


def prepare_batches(trainer: Trainer) -> list[Any]:
    """Prepare a batch with the penalty and one without."""
    with trainer.loader() as loader:
        return [trainer.preparer.load(next(loader)) for _ in range(2)]


def make_trainer(preset: str, folder: Path, threads: int, **options: str) -> Trainer:
    """Return a trainer of the preset with other options."""
    config = PRESETS[preset]
    data = config.data.model_copy(update={"path": str(folder)})
    train = config.train.model_copy(update=options)
    return Trainer(
        config.model_copy(update={"data": data, "train": train, "num_cpu_threads": threads})
    )


if __name__ == "__main__":
    benchmark(run)
