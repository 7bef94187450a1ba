"""Measure sampling rate and the time to one GIF.

Run `python -m benchmarks.generate_throughput`. It generates the same clips with one clip per pass,
and with as many per pass as generate.py uses, in turns.
"""

import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import torch

from benchmarks.measure import benchmark, print_summary, run_turns, summarise
from benchmarks.record import write_record
from t2vgan import __version__
from t2vgan.checkpoint.weights import WeightsInfo, save_weights
from t2vgan.config import ClipGanConfig
from t2vgan.data.shards import Geometry
from t2vgan.models import build_generator
from t2vgan.pipeline import TextToVideo
from t2vgan.tokenizer import Vocabulary

GEOMETRY = Geometry(num_frames=10, height=64, width=64)
PROMPTS = ("circle moving diagonally up-right", "circle rotating counter-clockwise")


def run(num_clips: int = 64, turns: int = 15, threads: int = 2, cold_starts: int = 3) -> None:
    """Time sampling with an untrained default clip_gan, and the command's start.

    Args:
        num_clips: Clips of 10x64x64 per turn.
        turns: Turns of each way; medians and extremes are reported.
        threads: Number of workers with one thread each; a GPU has one worker.
        cold_starts: Number of times that generate.py makes one GIF, from process start to end.
    """
    torch.set_num_threads(threads)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    pipeline = make_pipeline(device)
    batch_size = pipeline.choose_batch_size(GEOMETRY.num_frames)
    ways = {
        "a clip a pass": partial(sample, pipeline, num_clips, batch_size=1),
        f"{batch_size} clips a pass": partial(sample, pipeline, num_clips, batch_size=batch_size),
    }
    for way in ways.values():
        way()  # warms up
    summary = summarise(run_turns(ways, turns), num_clips)
    seconds = [time_first_gif(pipeline) for _ in range(cold_starts)]
    print_summary("clips/s", summary)
    print(f"command to first GIF: {median(seconds):.1f} s, at most {max(seconds):.1f} s")
    content = {
        "num_clips": num_clips,
        "geometry": list(GEOMETRY.shape[:3]),
        "threads": threads,
        "batch_size": batch_size,
        "clips_per_second": summary,
        "seconds_to_first_gif": seconds,
    }
    print(f"wrote {write_record('generate_throughput', content, device=device)}")


def make_pipeline(
    device: str, geometry: Geometry = GEOMETRY, prompts: tuple[str, ...] = PROMPTS
) -> TextToVideo:
    """Build the default clip_gan with random weights.

    Speed does not depend on the weights.
    """
    torch.manual_seed(0)
    vocabulary = Vocabulary.from_prompts(prompts)
    generator = build_generator(
        ClipGanConfig(),
        height=geometry.height,
        width=geometry.width,
        vocabulary_size=len(vocabulary),
    )
    info = WeightsInfo(
        model=ClipGanConfig(),
        **geometry.model_dump(),
        fps=10,
        words=vocabulary.words,
        prompts=prompts,
        held_out_prompts=(),
        step=0,
        clips_seen=0,
        t2vgan_version=__version__,
    )
    return TextToVideo(generator.to(device).eval(), vocabulary, info)


def sample(pipeline: TextToVideo, num_clips: int, *, batch_size: int) -> None:
    """Sample as generate.py does, up to the frames."""
    pipeline.generate(
        [PROMPTS[index % len(PROMPTS)] for index in range(num_clips)],
        range(num_clips),
        batch_size=batch_size,
    )


def time_first_gif(pipeline: TextToVideo) -> float:
    """Time generate.py making one GIF, including the start of Python."""
    script = Path(__file__).parents[1] / "generate.py"
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        save_weights(weights, pipeline.generator.state_dict(), pipeline.info)
        command = [sys.executable, str(script), "--prompt", PROMPTS[0], "--weights", str(weights)]
        start = time.perf_counter()
        subprocess.run([*command, "--out", folder], check=True, capture_output=True)
        return time.perf_counter() - start


if __name__ == "__main__":
    benchmark(run)
