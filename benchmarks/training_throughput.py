"""Compare the notebook preset with a plain rewrite of its loop.

`python -m benchmarks.training_throughput` measures training frames/s with the same networks and
batch on the same machine, in turns of a few steps each, so that other load affects both equally.
"""

import tempfile
from pathlib import Path

import torch

from benchmarks.clips import SCENES, write_clips
from benchmarks.measure import benchmark, print_summary, summarise
from benchmarks.notebook_dataset import write_dataset
from benchmarks.record import write_record
from benchmarks.training_turns import Worker, run_worker_turns
from benchmarks.training_worker import PLAIN_LOOP

FRAMES_PER_STEP = 16


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
        frames, shards = Path(name, "frames"), Path(name, "shards")
        write_dataset(frames, num_clips)
        clips_per_shard = num_clips // 8
        scene, size = SCENES["notebook"]
        write_clips(shards, scene, size, num_clips=num_clips, clips_per_shard=clips_per_shard)
        ours = Worker("notebook", shards, threads)
        plain = Worker(PLAIN_LOOP, frames, threads)
        workers = {PLAIN_LOOP: plain, "train.py notebook": ours}
        summary = summarise(
            run_worker_turns(workers, turns, steps_per_turn), steps_per_turn * FRAMES_PER_STEP
        )
    print_summary("frames/s", summary)
    _, ours_summary = summary.values()
    record = {
        "headline": (
            f"{ours_summary['median']:.0f} frames/s, {ours_summary['ratio']:.2f} times the loop's"
        ),
        "threads": threads,
        "precision": ours.precision,
        "steps_per_turn": steps_per_turn,
        "frames_per_second": summary,
    }
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"wrote {write_record('training_throughput', record, device=device)}")


if __name__ == "__main__":
    benchmark(run)
