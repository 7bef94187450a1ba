"""Compare shard building with the notebook: `python -m benchmarks.build_throughput`.

Both make the same number of 10-frame 64x64 clips, turn by turn, so that other load on the machine
touches both alike; the ratio of the medians is the claim. They write to memory where there is a
memory disk: on a slow disk the notebook's eleven files a clip cost more than its drawing, and the
ratio would flatter us. A second table compares ways of storing a film strip.
"""

import io
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.measure import Turn, benchmark, print_summary, run_turns, summarise, time_turn
from benchmarks.notebook_dataset import write_dataset
from benchmarks.record import print_table, write_record
from data_tools.build.scene_build import BuildPlan
from data_tools.build_shards import build
from data_tools.scenes import circles
from t2vgan.data.film_strip import decode_strip, encode_strip
from t2vgan.data.shards import Geometry

GEOMETRY = Geometry(num_frames=10, height=64, width=64)
CLIPS_PER_SHARD = 500
NUM_STRIPS = 200
MEMORY_DISK = Path("/dev/shm")


def run(
    num_clips: int = 10_000,
    turns: int = 5,
    workers: int = os.cpu_count() or 1,
    folder: Path | None = None,
) -> None:
    """Time both builders turn by turn, and the film-strip codecs.

    Args:
        num_clips: Clips that each builder makes in each turn.
        turns: Turns of each builder; medians are reported.
        workers: Processes of our builder. The notebook's loop has one, as published.
        folder: Where both write, below it and removed again; a memory disk if there is one.
    """
    if folder is None:
        folder = MEMORY_DISK if MEMORY_DISK.is_dir() else Path(tempfile.gettempdir())

    def measure(builder: Callable[[Path], None]) -> Turn:
        with tempfile.TemporaryDirectory(dir=folder) as out:
            return time_turn(partial(builder, Path(out)))

    builders = {
        "notebook loop": partial(build_notebook, num_clips),
        **{f"build_shards, workers: {n}": partial(build_ours, num_clips, n) for n in {1, workers}},
    }
    timed_turns = run_turns(builders, turns, measure=measure)
    summary = summarise(timed_turns, num_clips * GEOMETRY.num_frames)
    codecs = measure_codecs()
    print_summary("frames/s", summary)
    print_table(
        ["film strip", "bytes", "encode us", "decode us"],
        [[name, *(f"{value:.0f}" for value in row.values())] for name, row in codecs.items()],
    )
    content = {
        "num_clips": num_clips,
        "geometry": GEOMETRY.model_dump(),
        "folder": str(folder),
        "frames_per_second": summary,
        "film_strips": codecs,
    }
    print(f"wrote {write_record('build_throughput', content)}")


def build_notebook(num_clips: int, folder: Path) -> None:
    """Make clips as the notebook does."""
    write_dataset(folder, num_clips)


def build_ours(num_clips: int, workers: int, folder: Path) -> None:
    """Make clips as the command does, start of workers and manifest included."""
    plan = BuildPlan("circles", num_clips, CLIPS_PER_SHARD, GEOMETRY, seed=0)
    silence = io.StringIO()
    with redirect_stdout(silence), redirect_stderr(silence):
        build(plan, folder, num_workers=workers)


def measure_codecs() -> dict[str, dict[str, float]]:
    """Return bytes and processor time (us, encode and decode) per codec."""
    clips = circles.render_clips(range(NUM_STRIPS), 0, GEOMETRY).frames
    results = {}
    for name, encode in strip_encoders().items():
        start = time.process_time()
        strips = [encode(clip) for clip in clips]
        encoded = time.process_time()
        decoded = [decode_strip(strip, GEOMETRY) for strip in strips]
        end = time.process_time()
        assert name.startswith("JPEG") or np.array_equal(decoded, clips), name
        results[name] = {
            "bytes": sum(map(len, strips)) / len(strips),
            "encode_us": (encoded - start) / len(strips) * 1e6,
            "decode_us": (end - encoded) / len(strips) * 1e6,
        }
    return results


def strip_encoders() -> dict[str, Callable[[np.ndarray], bytes]]:
    """Return the codecs for a film strip that were considered, by name."""
    import cv2
    from PIL import Image

    def opencv(suffix: str, *flags: int) -> Callable[[np.ndarray], bytes]:
        def encode(clip: np.ndarray) -> bytes:
            strip = cv2.cvtColor(clip.reshape(-1, clip.shape[2], 3), cv2.COLOR_RGB2BGR)
            return cv2.imencode(suffix, strip, flags)[1].tobytes()

        return encode

    def pillow(method: int, effort: int) -> Callable[[np.ndarray], bytes]:
        def encode(clip: np.ndarray) -> bytes:
            buffer = io.BytesIO()
            strip = Image.fromarray(clip.reshape(-1, clip.shape[2], 3))
            strip.save(buffer, "WEBP", lossless=True, method=method, quality=effort)
            return buffer.getvalue()

        return encode

    return {
        "WebP lossless, as in shards": encode_strip,
        "WebP lossless, OpenCV": opencv(".webp", cv2.IMWRITE_WEBP_QUALITY, 101),
        **{
            f"WebP lossless, Pillow, method {m}, effort {e}": pillow(m, e)
            for m in (0, 1, 2, 4)
            for e in (0, 50, 75, 100)
        },
        "PNG level 1": opencv(".png", cv2.IMWRITE_PNG_COMPRESSION, 1),
        "PNG level 6": opencv(".png", cv2.IMWRITE_PNG_COMPRESSION, 6),
        "JPEG 95": opencv(".jpg", cv2.IMWRITE_JPEG_QUALITY, 95),
    }


if __name__ == "__main__":
    benchmark(run)
