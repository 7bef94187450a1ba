"""Clips per second of sampling, and time to a GIF: `python -m benchmarks.generate_throughput`.

Three ways to make the same 64 clips, turn by turn, so that other load on the machine touches all
alike. "workers" is what generate.py does: a forward pass for each clip, one PyTorch thread each.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
import tyro

from benchmarks.record import print_table, write_record
from t2vgan import __version__, cli
from t2vgan.config import ClipGanConfig
from t2vgan.models import build_generator
from t2vgan.sampling import draw_latents, generate_clips
from t2vgan.text import Vocabulary
from t2vgan.video import to_frames
from t2vgan.weights import WeightsInfo, save_weights

NUM_FRAMES, HEIGHT, WIDTH = 10, 64, 64
PROMPTS = ("circle moving diagonally up-right", "circle rotating counter-clockwise")
VOCABULARY = Vocabulary.from_prompts(PROMPTS)


def main() -> None:
    """Measure, print two tables and write the record."""
    tyro.cli(run, prog="python -m benchmarks.generate_throughput")


def run(num_clips: int = 64, repetitions: int = 15, threads: int = 2, cold_starts: int = 3) -> None:
    """Time three ways of sampling with the default clip_gan, untrained, and the command's start.

    Args:
        num_clips: Clips of 10x64x64 in each turn.
        repetitions: Turns; medians and extremes are reported.
        threads: PyTorch threads, or workers of one thread each.
        cold_starts: Times that generate.py makes one GIF, from process start to end.
    """
    torch.set_num_threads(threads)
    generator = make_generator()
    ways: dict[str, Callable[[], np.ndarray]] = {
        f"{threads} workers, a clip a pass": lambda: sample(generator, num_clips, batch_size=1),
        f"{threads} threads, a clip a pass": lambda: sample_in_turn(generator, num_clips),
        f"{threads} workers, 8 clips a pass": lambda: sample(generator, num_clips, batch_size=8),
    }
    clips = {name: way() for name, way in ways.items()}  # warms up, too
    one, _, eight = clips.values()
    rates = measure(ways, num_clips, repetitions)
    seconds = [time_first_gif(generator) for _ in range(cold_starts)]

    print_table(
        ["way", "clips/s", "lowest", "highest", "processor ms/clip"],
        [[name, *(f"{value:.1f}" for value in row.values())] for name, row in rates.items()],
    )
    difference = int(np.abs(one.astype(int) - eight).max())
    print(f"8 clips a pass differ from one a pass by at most {difference} of 255 levels")
    print(f"command to first GIF: {median(seconds):.1f} s, at most {max(seconds):.1f} s")
    content = {
        "num_clips": num_clips,
        "num_frames": NUM_FRAMES,
        "height": HEIGHT,
        "width": WIDTH,
        "threads": threads,
        "clips_per_second": rates,
        "largest_difference_in_levels": difference,
        "seconds_to_first_gif": seconds,
    }
    print(f"wrote {write_record('generate_throughput', content)}")


def make_generator() -> torch.nn.Module:
    """Return the default clip_gan with random weights: speed does not depend on their values."""
    torch.manual_seed(0)
    return build_generator(
        ClipGanConfig(), height=HEIGHT, width=WIDTH, vocabulary_size=len(VOCABULARY)
    ).eval()


def prompts_of(num_clips: int) -> list[str]:
    """Return the prompts in turn."""
    return [PROMPTS[index % len(PROMPTS)] for index in range(num_clips)]


def sample(generator: torch.nn.Module, num_clips: int, *, batch_size: int) -> np.ndarray:
    """Sample as generate.py does."""
    return generate_clips(
        generator,
        VOCABULARY,
        prompts_of(num_clips),
        range(num_clips),
        num_frames=NUM_FRAMES,
        batch_size=batch_size,
    )


@torch.no_grad()
def sample_in_turn(generator: torch.nn.Module, num_clips: int) -> np.ndarray:
    """Sample clip after clip, with PyTorch's threads sharing each operation."""
    clips = []
    times = torch.linspace(0, 1, NUM_FRAMES)[None]
    for seed, prompt in enumerate(prompts_of(num_clips)):
        token_ids, token_mask = map(torch.from_numpy, VOCABULARY.encode([prompt]))
        latents = draw_latents(generator.latent_shape(NUM_FRAMES), [seed])
        clips.append(to_frames(generator(latents, token_ids, token_mask, times)).numpy())
    return np.concatenate(clips)


def measure(
    ways: dict[str, Callable[[], np.ndarray]], num_clips: int, repetitions: int
) -> dict[str, dict[str, float]]:
    """Run the ways turn by turn; return median and extreme rates, and the median work per clip."""
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            start, processor_start = time.perf_counter(), time.process_time()
            way()
            seconds = time.perf_counter() - start
            processor = time.process_time() - processor_start
            turns[name].append((num_clips / seconds, 1e3 * processor / num_clips))
    summary = {}
    for name, row in turns.items():
        rates, processor = zip(*row, strict=True)
        summary[name] = {
            "median": median(rates),
            "lowest": min(rates),
            "highest": max(rates),
            "processor_ms_per_clip": median(processor),
        }
    return summary


def time_first_gif(generator: torch.nn.Module) -> float:
    """Return the seconds that generate.py takes to make one GIF, start of Python included."""
    info = WeightsInfo(
        model=ClipGanConfig(),
        num_frames=NUM_FRAMES,
        height=HEIGHT,
        width=WIDTH,
        fps=10,
        words=VOCABULARY.words,
        prompts=PROMPTS,
        held_out_prompts=(),
        step=0,
        clips_seen=0,
        t2vgan_version=__version__,
    )
    script = Path(__file__).parents[1] / "generate.py"
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "weights.safetensors"
        save_weights(weights, generator.state_dict(), info)
        command = [sys.executable, script, "--prompt", PROMPTS[0], "--weights", weights]
        start = time.perf_counter()
        subprocess.run([*command, "--out", folder], check=True, capture_output=True)
        return time.perf_counter() - start


if __name__ == "__main__":
    cli.run(main)
