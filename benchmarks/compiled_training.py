"""Compare training steps of compiled networks with those of eager ones.

`python -m benchmarks.compiled_training --preset quickstart`: clips/s, both in one process, in turns
of whole penalty intervals, so that other load touches both alike; and after how many steps the time
of compiling, from an empty cache, is won back.
"""

import os
import tempfile
import time
from pathlib import Path

from benchmarks.measure import benchmark, print_summary, run_turns, summarise
from benchmarks.record import write_record
from data_tools.build_shards import BuildOptions, build, make_plan
from t2vgan.config.presets import PRESETS
from t2vgan.distributed.device import describe_device
from t2vgan.gan.compilation import CACHE_VARIABLE
from t2vgan.training.trainer import Trainer

SCENES = {
    "quickstart": ("circles", (64, 64)),
    "shapes-cpu": ("shapes", (32, 32)),
    "video-small": ("shapes", (32, 32)),
    "shapes": ("shapes", (64, 64)),
    "notebook": ("notebook", (64, 64)),
}
NUM_CLIPS = 400


def run(
    preset: str = "quickstart", turns: int = 7, threads: int = 0, penalty: str = "exact"
) -> None:
    """Time both ways turn by turn; print and record.

    Args:
        preset: Whose networks and recipe.
        turns: Turns of each way; medians of rates and of the turns' ratios are reported.
        threads: PyTorch threads on a CPU; 0 takes every core.
        penalty: exact or approximate, with both ways.
    """
    with tempfile.TemporaryDirectory() as name:
        os.environ[CACHE_VARIABLE] = str(Path(name, "compiled"))
        folder = Path(name, "shards")
        write_shards(preset, folder)
        trainers = {
            way: make_trainer(preset, folder, threads, penalty) for way in ("eager", "compiled")
        }
        trainers["compiled"].gan.compile_networks()
        every = trainers["eager"].config.train.penalty_every_steps or 8
        steps = dict.fromkeys(trainers, 0)

        def train(way: str, num_steps: int) -> None:
            trainer = trainers[way]
            for _ in range(num_steps):
                step = steps[way]
                trainer.gan.train_step(batches[way][step % every != 0], step)
                steps[way] += 1
            trainer.gan.metrics.reduce()  # waits for the device

        batches = {}
        for way, trainer in trainers.items():
            with trainer.loader() as loader:
                batches[way] = [trainer.preparer.prepare(next(loader)) for _ in range(2)]
        seconds = {}
        for way in trainers:
            start = time.perf_counter()
            train(way, every)
            seconds[way] = time.perf_counter() - start
        ways = {way: lambda way=way: train(way, every) for way in trainers}
        summary = summarise(run_turns(ways, turns), every * trainers["eager"].plan.global_size)
    rates = {way: row["median"] for way, row in summary.items()}
    clips = trainers["eager"].plan.global_size
    won = clips / rates["eager"] - clips / rates["compiled"]
    compile_seconds = seconds["compiled"] - every * clips / rates["compiled"]
    print_summary("clips/s", summary)
    print(
        f"compiling took {compile_seconds:.0f} s, won back after {compile_seconds / won:.0f} steps"
    )
    device = trainers["eager"].context.device
    record = {
        "device_name": describe_device(device),
        "preset": preset,
        "penalty": penalty,
        "threads": threads,
        "compile_seconds": compile_seconds,
        "steps_to_win_back": compile_seconds / won,
        "clips_per_second": summary,
    }
    print(
        f"wrote {write_record(f'compiled_training-{preset}-{penalty}', record, device=device.type)}"
    )


def write_shards(preset: str, folder: Path) -> None:
    """Write a few clips of the preset's scene."""
    scene, (height, width) = SCENES[preset]
    options = BuildOptions(
        scene=scene, out=folder, num_clips=NUM_CLIPS, clips_per_shard=50, size=f"{height}x{width}"
    )
    build(make_plan(options), folder, num_workers=1)


def make_trainer(preset: str, folder: Path, threads: int, penalty: str) -> Trainer:
    """Return the preset's trainer on these shards."""
    config = PRESETS[preset]
    data = config.data.model_copy(update={"path": str(folder)})
    train = config.train.model_copy(update={"penalty": penalty})
    return Trainer(
        config.model_copy(update={"data": data, "train": train, "num_cpu_threads": threads})
    )


if __name__ == "__main__":
    benchmark(run)
