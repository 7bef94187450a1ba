"""Compare the notebook preset with a plain rewrite of its loop.

`python -m benchmarks.training_throughput` measures training frames/s with the same networks and
batch on the same machine, in turns of a few steps each, so that other load affects both equally.
"""

import tempfile
from pathlib import Path

import torch

from benchmarks.clips import SCENES, write_clips
from benchmarks.measure import benchmark, print_summary, run_turns, summarise
from benchmarks.notebook_dataset import write_dataset
from benchmarks.notebook_training import PlainLoop
from benchmarks.record import write_record
from t2vgan.config.presets import PRESETS
from t2vgan.distributed.device import describe_device
from t2vgan.training.trainer import Trainer

FRAMES_PER_STEP = 16
WARM_UP_STEPS = 3


def run(turns: int = 9, steps_per_turn: int = 12, num_clips: int = 400, threads: int = 0) -> None:
    """Time both loops turn by turn; print and record.

    Args:
        turns: Turns of each loop; medians of rates and of the turns' ratios are reported.
        steps_per_turn: Steps of 16 frames in a turn.
        num_clips: Clips of 10 frames that each loop reads.
        threads: PyTorch threads of both loops on a CPU; 0 uses every core. On a busy machine one
            thread is fairer, because several wait for each other.
    """
    with tempfile.TemporaryDirectory() as name:
        trainer = make_trainer(Path(name), num_clips, threads)
        device = trainer.context.device
        plain = PlainLoop(Path(name, "frames"), device)
        with trainer.loader() as loader:

            def ours(num_steps: int = steps_per_turn) -> None:
                for _ in range(num_steps):
                    trainer.train_step(next(loader))
                trainer.gan.metrics.reduce()  # waits for the device

            def theirs(num_steps: int = steps_per_turn) -> None:
                plain.run(num_steps)
                if device.type == "cuda":
                    torch.cuda.synchronize()

            for way in (ours, theirs):
                way(min(WARM_UP_STEPS, steps_per_turn))
            timed_turns = run_turns({"plain loop": theirs, "train.py notebook": ours}, turns)
    summary = summarise(timed_turns, steps_per_turn * FRAMES_PER_STEP)
    print_summary("frames/s", summary)
    _, ours_summary = summary.values()
    record = {
        "headline": (
            f"{ours_summary['median']:.0f} frames/s, {ours_summary['ratio']:.2f} times the loop's"
        ),
        "device_name": describe_device(device),
        "precision": str(trainer.gan.precision),
        "steps_per_turn": steps_per_turn,
        "frames_per_second": summary,
    }
    print(f"wrote {write_record('training_throughput', record, device=device.type)}")


def make_trainer(folder: Path, num_clips: int, threads: int) -> Trainer:
    """Write clips for both loops; return the notebook preset's trainer."""
    shards = folder / "shards"
    write_dataset(folder / "frames", num_clips)
    write_clips(shards, *SCENES["notebook"], num_clips=num_clips, clips_per_shard=num_clips // 8)
    preset = PRESETS["notebook"]
    data = preset.data.model_copy(update={"path": str(shards)})
    return Trainer(preset.model_copy(update={"data": data, "num_cpu_threads": threads}))


if __name__ == "__main__":
    benchmark(run)
