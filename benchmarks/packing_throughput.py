"""Compare packing of 10 s 720p films with pure decoding.

Run `python -m benchmarks.packing_throughput`. Every clip spans its whole film, so that both decode
all of its frames. The claims: at least 80 % of the pure decode rate with one process, and two
processes at least 1.8 times as fast as one.
"""

import io
import tempfile
from contextlib import redirect_stderr
from functools import partial
from pathlib import Path
from statistics import median

import av

from benchmarks.films import write_film, write_list
from benchmarks.measure import benchmark, print_summary, run_turns, summarise
from benchmarks.record import write_record
from data_tools.build.destination import Destination
from data_tools.build.runner import complete
from data_tools.pack_videos import PackOptions, make_plan
from data_tools.videos.plan import PackPlan, sandbox_for

NUM_FILMS = 4
NUM_FRAMES = 16


def run(num_videos: int = 32, turns: int = 5, seconds: float = 10.0) -> None:
    """Time decoding and packing turn by turn; print and record.

    Args:
        num_videos: Films packed per turn (repetitions of a few different ones).
        turns: Turns of each way; medians of rates and of the turns' ratios are reported.
        seconds: Length of a film.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        films = [write_film(folder / f"{i}.mp4", i, seconds=seconds) for i in range(NUM_FILMS)]
        write_list(folder, num_videos)
        options = PackOptions(
            source=name, out="", num_frames=NUM_FRAMES, fps=NUM_FRAMES / seconds,
            rows_per_shard=max(1, num_videos // 8),
        )  # fmt: skip
        plan = make_plan(options)
        one, two = "pack_videos, 1 process", "pack_videos, 2 processes"
        ways = {
            "pure PyAV decode": partial(decode, films * (num_videos // NUM_FILMS)),
            one: partial(pack, plan, 1),
            two: partial(pack, plan, 2),
        }
        timed_turns = run_turns(ways, turns)
        megabytes = sum(path.stat().st_size for path in films) / NUM_FILMS / 1e6
    summary = summarise(timed_turns, num_videos)
    pairs = zip(timed_turns[one], timed_turns[two], strict=True)
    content = {
        "num_videos": num_videos,
        "seconds_per_video": seconds,
        "megabytes_per_video": megabytes,
        "videos_per_second": summary,
        "two_processes_over_one": median(a.seconds / b.seconds for a, b in pairs),
    }
    print_summary("videos/s", summary)
    print(f"two processes over one: {content['two_processes_over_one']:.2f}")
    print(f"wrote {write_record('packing_throughput', content)}")


def decode(films: list[Path]) -> None:
    """Decode every frame of the films with one thread, nothing else."""
    for film in films:
        with av.open(film) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for _ in container.decode(video=0):
                pass


def pack(plan: PackPlan, num_workers: int) -> None:
    """Pack like the command, including process start and manifest."""
    with tempfile.TemporaryDirectory() as out, redirect_stderr(io.StringIO()):
        built = complete(plan, Destination(Path(out)), num_workers=num_workers)
    entries = [shard.entry for shard in built.values()]
    assert sum(entry.num_samples for entry in entries if entry) == len(plan.source.rows)
    if num_workers == 1:
        sandbox_for(plan.settings).close()  # its processor time counts once it has ended
        sandbox_for.cache_clear()


if __name__ == "__main__":
    benchmark(run)
