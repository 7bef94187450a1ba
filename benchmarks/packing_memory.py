"""Measure memory while 10,000 videos are packed: `python -m benchmarks.packing_memory`.

The resident memory of the command and of its child is read after every shard. The claim: the peak
in the last tenth is at most 1.1 times the peak in the first tenth.
"""

import tempfile
from pathlib import Path

import psutil

from benchmarks.films import write_film, write_list
from benchmarks.measure import benchmark
from benchmarks.record import print_table, write_record
from data_tools.build.destination import Destination
from data_tools.build.protocol import BuiltShard
from data_tools.build.runner import complete
from data_tools.pack_videos import PackOptions, make_plan

NUM_FILMS = 20


def run(num_videos: int = 10_000) -> None:
    """Pack small films in sequence; print and record the peaks.

    Args:
        num_videos: Rows of the list; must be a multiple of 500.
    """
    with tempfile.TemporaryDirectory() as name, tempfile.TemporaryDirectory() as out:
        folder = Path(name)
        for number in range(NUM_FILMS):
            write_film(folder / f"{number}.mp4", number, seconds=1, size=f"{160 + 2 * number}x120")
        write_list(folder, num_videos)
        options = PackOptions(source=name, out=out, num_frames=4, fps=5, rows_per_shard=50)
        readings: list[int] = []

        def watch(built: BuiltShard) -> None:
            me = psutil.Process()
            family = [me, *me.children(recursive=True)]
            readings.append(sum(process.memory_info().rss for process in family))

        complete(make_plan(options), Destination(Path(out)), num_workers=1, watch=watch)
    tenth = len(readings) // 10
    peaks = [max(readings[i * tenth : (i + 1) * tenth]) / 1e6 for i in range(10)]
    ratio = peaks[-1] / peaks[0]
    print_table(
        ["tenth of the videos", "peak MB"], [[i + 1, f"{p:.1f}"] for i, p in enumerate(peaks)]
    )
    print(f"last over first: {ratio:.3f}")
    content = {"num_videos": num_videos, "peak_megabytes": peaks, "last_over_first": ratio}
    print(f"wrote {write_record('packing_memory', content)}")


if __name__ == "__main__":
    benchmark(run)
