"""Time an evaluation: `python -m benchmarks.evaluation_throughput`.

Clips drawn by the default clip_gan, and the same number of WebP files: with and without drawing.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from benchmarks.generate_throughput import make_pipeline
from benchmarks.measure import benchmark, processor_seconds
from benchmarks.record import print_table, write_record
from data_tools.build.scene_build import BuildPlan
from data_tools.build_shards import build
from data_tools.scenes import shapes
from t2vgan.checkpoint.weights import save_weights
from t2vgan.config import ClipGanConfig, DataConfig
from t2vgan.data.shards import Geometry, load_manifest
from t2vgan.distributed.context import DistributedContext
from t2vgan.evaluation.evaluate import evaluate
from t2vgan.media import save_clip
from t2vgan.models import build_generator
from t2vgan.tokenizer import Vocabulary

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
        data, videos, weights = (
            Path(folder) / name for name in ("data", "videos", "w.safetensors")
        )
        build(BuildPlan("shapes", num_training_clips, 500, geometry, 0), data, num_workers=2)
        write_videos(videos, num_clips, geometry)
        write_weights(weights, data, geometry)
        read = DataConfig(path=str(data))
        seconds = {
            "a folder of WebP files": time_it(
                lambda: evaluate(None, read, videos=videos, context=context)
            ),
            "drawn by weights": time_it(
                lambda: evaluate(weights, read, num_clips=num_clips, context=context)
            ),
        }
    print_table(
        ["what was scored", "seconds", "processor seconds"],
        [[name, f"{wall:.1f}", f"{busy:.1f}"] for name, (wall, busy) in seconds.items()],
    )
    content = {
        "num_clips": num_clips,
        "num_real_clips": num_clips,
        "num_training_clips": num_training_clips,
        "geometry": [16, side, side],
        "threads": torch.get_num_threads(),
        "seconds": {name: wall for name, (wall, _) in seconds.items()},
        "processor_seconds": {name: busy for name, (_, busy) in seconds.items()},
    }
    print(f"wrote {write_record('evaluation_throughput', content, device=context.device.type)}")


def time_it(work: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that pass, and those that processors work."""
    start, processor_start = time.perf_counter(), processor_seconds()
    work()
    return time.perf_counter() - start, processor_seconds() - processor_start


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


def write_weights(path: Path, data: Path, geometry: Geometry) -> None:
    """Write random weights of the default clip_gan for the data's prompts."""
    prompts = tuple(load_manifest(data).prompts)
    vocabulary = Vocabulary.from_prompts(prompts)
    sizes = geometry.model_dump()
    generator = build_generator(
        ClipGanConfig(),
        height=geometry.height,
        width=geometry.width,
        vocabulary_size=len(vocabulary),
    )
    info = make_pipeline("cpu").info.model_copy(
        update={**sizes, "words": vocabulary.words, "prompts": prompts}
    )
    save_weights(path, generator.state_dict(), info)


if __name__ == "__main__":
    benchmark(run)
