"""Training frames/s: the notebook preset against a plain rewrite of the notebook's own loop.

`python -m benchmarks.training_throughput`. The same networks and batch on the same machine, in
turns of a few steps each, so that other load touches both alike.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import tyro

from benchmarks.notebook_dataset import write_dataset
from benchmarks.notebook_training import PlainLoop
from benchmarks.record import print_table, write_record
from data_tools.build_shards import BuildOptions, build, make_plan
from t2vgan import cli
from t2vgan.distributed import describe_device
from t2vgan.presets import PRESETS
from t2vgan.trainer import Trainer

NUM_CLIPS = 400
FRAMES_PER_STEP = 16


def main() -> None:
    tyro.cli(run, prog="python -m benchmarks.training_throughput")


def run(turns: int = 9, steps_per_turn: int = 12) -> None:
    """Time both loops turn by turn, print a table and write the record.

    Args:
        turns: Turns of each loop; medians of rates and of paired ratios are reported.
        steps_per_turn: Steps of 16 frames in a turn.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain_folder, shards = Path(folder, "frames"), Path(folder, "shards")
        write_dataset(plain_folder, NUM_CLIPS)
        options = BuildOptions(
            scene="notebook", out=shards, num_clips=NUM_CLIPS, clips_per_shard=50, workers=1
        )
        build(make_plan(options), shards, num_workers=1)
        config = PRESETS["notebook"]
        config = config.model_copy(update={"data": config.data.model_copy(update={"path": shards})})
        trainer = Trainer(config)
        device = trainer.processes.device
        plain = PlainLoop(plain_folder, device)
        with trainer.loader() as loader:

            def ours(num_steps: int) -> None:
                for _ in range(num_steps):
                    trainer.train_step(next(loader))
                trainer.game.read_notes()  # waits for the device

            def theirs(num_steps: int) -> None:
                plain.run(num_steps)
                if device.type == "cuda":
                    torch.cuda.synchronize()

            rates = measure(
                {"plain loop": theirs, "train.py notebook": ours}, turns, steps_per_turn
            )
    ratios = [b / a for a, b in zip(*rates.values(), strict=True)]
    print_table(
        ["frames/s", "median", "lowest", "highest"],
        [
            [name, *(f"{value:.0f}" for value in (median(row), min(row), max(row)))]
            for name, row in rates.items()
        ],
    )
    print(f"ratio, paired: {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    record = {
        "device_name": describe_device(device),
        "precision": str(trainer.game.precision),
        "steps_per_turn": steps_per_turn,
        "frames_per_second": rates,
        "ratio": ratios,
        "median_ratio": median(ratios),
    }
    print(f"wrote {write_record('training_throughput', record, device=device.type)}")


def measure(
    loops: dict[str, Callable[[int], None]], turns: int, steps_per_turn: int
) -> dict[str, list[float]]:
    """Return each loop's frames per second, turn by turn."""
    for loop in loops.values():
        loop(3)  # warms up
    rates: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(turns):
        for name, loop in loops.items():
            start = time.perf_counter()
            loop(steps_per_turn)
            rates[name].append(steps_per_turn * FRAMES_PER_STEP / (time.perf_counter() - start))
    return rates


if __name__ == "__main__":
    cli.run(main)
