"""Measure the clips/s that one core renders, packs and reads, by scene."""

import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.measure import benchmark, print_summary, run_turns, summarise
from benchmarks.record import print_table, write_record
from data_tools.build.scene_build import BuildPlan
from t2vgan.data.shards import Geometry
from t2vgan.evaluation.scores import score_clips

SCENES = ("circles", "shapes", "shapes-textured", "shapes-two")
GEOMETRY = Geometry(num_frames=16, height=64, width=64)
CLIPS_AT_ONCE = 64


def run(num_clips: int = 1024, turns: int = 5) -> None:
    """Time renderers turn by turn; pack and read the clips once.

    Args:
        num_clips: Clips per scene and turn.
        turns: Turns of each scene; medians are reported.
    """
    timed_turns = run_turns({scene: partial(render, scene, num_clips) for scene in SCENES}, turns)
    summary = summarise(timed_turns, num_clips)
    packed = {scene: pack_and_read(scene, num_clips) for scene in SCENES}
    print_summary("clips/s", summary)
    print_table(
        ["scene", "bytes a clip", "packed clips/s", "read clips/s", "read right"],
        [[scene, *(f"{value:.4g}" for value in row.values())] for scene, row in packed.items()],
    )
    content = {
        "num_clips": num_clips,
        "geometry": GEOMETRY.model_dump(),
        "rendered_clips_per_second": summary,
        "packed": packed,
    }
    print(f"wrote {write_record('scene_throughput', content)}")


def render(scene: str, num_clips: int) -> None:
    """Render clips like a build, and discard them."""
    plan = BuildPlan(scene, num_clips, num_clips, GEOMETRY, seed=0)
    for start in range(0, num_clips, CLIPS_AT_ONCE):
        indexes = range(start, min(start + CLIPS_AT_ONCE, num_clips))
        plan.module.render_clips(indexes, plan.seed, plan.geometry)


def pack_and_read(scene: str, num_clips: int) -> dict[str, float]:
    """Write one shard and score its clips: rates, bytes, accuracy."""
    plan = BuildPlan(scene, num_clips, num_clips, GEOMETRY, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        entry = plan.job(0).run(Path(folder), lambda: False).entry
        packing_seconds = time.process_time() - start
    clips = plan.module.render_clips(range(num_clips), plan.seed, GEOMETRY)
    start = time.process_time()
    accuracy = score_clips(clips.frames, clips.prompts).accuracy
    return {
        "bytes_per_clip": entry.num_bytes / num_clips if entry else 0,
        "packed_clips_per_second": num_clips / packing_seconds,
        "read_clips_per_second": num_clips / (time.process_time() - start),
        "read_right": accuracy or 0,
    }


if __name__ == "__main__":
    benchmark(run)
