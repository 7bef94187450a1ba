"""Time an evaluation: `python -m benchmarks.evaluation_throughput`.

Clips drawn by the default clip_gan, and the same number of WebP files: with and without drawing.
"""

import tempfile
from pathlib import Path

import torch

from benchmarks.generate_throughput import make_pipeline
from benchmarks.measure import benchmark, time_turn
from benchmarks.record import print_table, write_record
from data_tools.build.scene_build import BuildPlan
from data_tools.build_shards import build
from data_tools.scenes import shapes
from t2vgan.checkpoint.weights import save_weights
from t2vgan.config import DataConfig
from t2vgan.data.mixture import open_data
from t2vgan.data.shards import Geometry, load_manifest
from t2vgan.distributed.context import DistributedContext
from t2vgan.evaluation.evaluate import evaluate
from t2vgan.evaluation.probe.cache import load_or_train_probe
from t2vgan.media import save_clip

CHUNK = 250


def run(num_clips: int = 2000, num_training_clips: int = 10_000, side: int = 64) -> None:
    """Time whole evaluations of the scene `shapes`, 16 frames a clip.

    Args:
        num_clips: clips to score, beside as many real ones
        num_training_clips: clips of the data, all searched for near copies
        side: height and width
    """
    geometry = Geometry(num_frames=16, height=side, width=side)
    context = DistributedContext()
    with tempfile.TemporaryDirectory() as folder:
        data, videos, weights = (Path(folder, name) for name in ("data", "videos", "w.safetensors"))
        build(BuildPlan("shapes", num_training_clips, 500, geometry, 0), data, num_workers=2)
        write_videos(videos, num_clips, geometry)
        pipeline = make_pipeline("cpu", geometry, tuple(load_manifest(data).prompts))
        save_weights(weights, pipeline.generator.state_dict(), pipeline.info)
        read = DataConfig(path=str(data))
        load_or_train_probe(open_data(read), context=context)  # once for any number of evaluations
        timed = {
            "a folder of WebP files": time_turn(
                lambda: evaluate(None, read, videos=videos, context=context)
            ),
            "drawn by weights": time_turn(
                lambda: evaluate(weights, read, num_clips=num_clips, context=context)
            ),
        }
    print_table(
        ["what was scored", "seconds", "processor seconds"],
        [
            [name, f"{turn.seconds:.1f}", f"{turn.processor_seconds:.1f}"]
            for name, turn in timed.items()
        ],
    )
    content = {
        "num_clips": num_clips,
        "num_real_clips": num_clips,
        "num_training_clips": num_training_clips,
        "geometry": [16, side, side],
        "threads": torch.get_num_threads(),
        "seconds": {name: turn.seconds for name, turn in timed.items()},
        "processor_seconds": {name: turn.processor_seconds for name, turn in timed.items()},
    }
    print(f"wrote {write_record('evaluation_throughput', content, device=context.device.type)}")


def write_videos(folder: Path, num_clips: int, geometry: Geometry) -> None:
    """Write clips of the scene, all different, none from the data."""
    lines = []
    for start in range(0, num_clips, CHUNK):
        places = range(start, min(start + CHUNK, num_clips))
        clips = shapes.render_clips(places, 1, geometry)
        for place, frames, prompt in zip(places, clips.frames, clips.prompts, strict=True):
            save_clip(folder / f"{place}.webp", frames)
            lines.append(f"{place}.webp\t{prompt}\n")
    (folder / "prompts.txt").write_text("".join(lines))


if __name__ == "__main__":
    benchmark(run)
