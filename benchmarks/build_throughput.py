"""Compare shard building with the notebook: `python -m benchmarks.build_throughput`.

Both make the same number of 10-frame 64x64 clips in alternating turns, so that other load on the
machine affects both equally; the claim is the ratio of the medians. They write to a memory disk if
there is one: on a slow disk, the notebook's eleven files per clip would cost more than its drawing,
and the ratio would be too good.
"""

import io
import os
import tempfile
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

from benchmarks.measure import Turn, benchmark, print_summary, run_turns, summarise, time_turn
from benchmarks.notebook_dataset import write_dataset
from benchmarks.record import write_record
from data_tools.build.scene_build import BuildPlan
from data_tools.build_shards import build
from t2vgan.data.shards import Geometry

GEOMETRY = Geometry(num_frames=10, height=64, width=64)
CLIPS_PER_SHARD = 500
MEMORY_DISK = Path("/dev/shm")


def run(
    num_clips: int = 10_000,
    turns: int = 5,
    workers: int = os.cpu_count() or 1,
    folder: Path | None = None,
) -> None:
    """Time both builders in turns; print and record the results.

    Args:
        num_clips: Clips per builder and turn.
        turns: Turns of each builder; medians are reported.
        workers: Number of processes of our builder; the notebook's loop has one, as published.
        folder: Folder in which both write temporarily; by default a memory disk, if there is one.
    """
    if folder is None:
        folder = MEMORY_DISK if MEMORY_DISK.is_dir() else Path(tempfile.gettempdir())

    def measure(builder: Callable[[Path], None]) -> Turn:
        with tempfile.TemporaryDirectory(dir=folder) as out:
            return time_turn(partial(builder, Path(out)))

    builders = {
        "notebook loop": partial(write_dataset, num_videos=num_clips),
        **{f"build_shards, workers: {n}": partial(build_ours, num_clips, n) for n in {1, workers}},
    }
    timed_turns = run_turns(builders, turns, measure=measure)
    summary = summarise(timed_turns, num_clips * GEOMETRY.num_frames)
    print_summary("frames/s", summary)
    content = {
        "num_clips": num_clips,
        "geometry": GEOMETRY.model_dump(),
        "folder": str(folder),
        "frames_per_second": summary,
    }
    print(f"wrote {write_record('build_throughput', content)}")


def build_ours(num_clips: int, workers: int, folder: Path) -> None:
    """Make clips like the command, including worker start and manifest."""
    plan = BuildPlan("circles", num_clips, CLIPS_PER_SHARD, GEOMETRY, seed=0)
    silence = io.StringIO()
    with redirect_stdout(silence), redirect_stderr(silence):
        build(plan, folder, num_workers=workers)


if __name__ == "__main__":
    benchmark(run)
