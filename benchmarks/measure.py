"""Time several ways of doing the same work, in turns.

Other load on the machine then affects all of them equally.
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NoReturn

from tqdm import tqdm

from benchmarks.record import print_table
from t2vgan.utils import cli

ROOT = Path(__file__).resolve().parents[1]

Ways = Mapping[str, Callable[..., object]]


@dataclass(frozen=True)
class Turn:
    """The time of one turn of one way."""

    seconds: float
    processor_seconds: float
    """Of this process and its ended children; hardly affected by other load on the machine."""


Turns = dict[str, list[Turn]]

Interval = tuple[float, float]
"""Processor seconds of this thread when a call began and when it ended."""


def benchmark(run: Callable[..., int | None]) -> NoReturn:
    """Run a benchmark's function as a command; its arguments are the options."""
    cli.run(lambda: cli.call(run))


def run_python(*arguments: object, **options: Any) -> None:
    """Run Python in the checkout's root; raise CalledProcessError if it fails."""
    subprocess.run([sys.executable, *map(str, arguments)], cwd=ROOT, check=True, **options)


def import_path(tree: Path = ROOT) -> str:
    """Return PYTHONPATH with a tree before its other folders (carried packages)."""
    return os.pathsep.join(filter(None, [str(tree), os.environ.get("PYTHONPATH")]))


def run_turns(ways: Ways, turns: int, *, measure: Callable[..., Turn] | None = None) -> Turns:
    """Time every way once per turn.

    `measure` times one way, and may prepare and clean up around it.
    """
    timed_turns: Turns = {name: [] for name in ways}
    with tqdm(total=turns * len(ways), desc="turns", unit=" turns", delay=2) as progress:
        for _ in range(turns):
            for name, way in ways.items():
                timed_turns[name].append((measure or time_turn)(way))
                progress.update()
    return timed_turns


def time_turn(way: Callable[[], object]) -> Turn:
    """Time one call."""
    start, processor_start = time.perf_counter(), processor_seconds()
    way()
    return Turn(time.perf_counter() - start, processor_seconds() - processor_start)


def processor_seconds() -> float:
    """Return processor seconds of this process and its ended children."""
    return time.process_time() + sum(os.times()[2:4])


def time_calls(owner: Any, name: str) -> list[Interval]:
    """Return a list to which each method call appends its interval."""
    method, intervals = getattr(owner, name), list[Interval]()

    def timed(*arguments: Any) -> Any:
        start = time.thread_time()
        result = method(*arguments)
        intervals.append((start, time.thread_time()))
        return result

    setattr(owner, name, timed)
    return intervals


def total(intervals: Iterable[Interval]) -> float:
    """Return the total seconds of calls."""
    return sum(end - start for start, end in intervals)


def summarise(turns: Turns, count: int) -> dict[str, dict[str, Any]]:
    """Return each way's rates and its ratios to the first way.

    A turn processes `count` items. A ratio is the median of the ratios of all turns, because both
    ways of a turn saw the same load.
    """
    first = next(iter(turns.values()))
    summary = {}
    for name, row in turns.items():
        rates = [count / turn.seconds for turn in row]
        pairs = list(zip(first, row, strict=True))
        summary[name] = {
            "median": median(rates),
            "lowest": min(rates),
            "highest": max(rates),
            "processor_us": median(1e6 * turn.processor_seconds / count for turn in row),
            "ratio": median(a.seconds / b.seconds for a, b in pairs),
            "processor_ratio": median(a.processor_seconds / b.processor_seconds for a, b in pairs),
            "rates": rates,
        }
    return summary


def print_summary(title: str, summary: Mapping[str, Mapping[str, Any]]) -> None:
    """Print a table of what `summarise` returns."""
    rates = ("median", "lowest", "highest", "processor_us")
    ratios = ("ratio", "processor_ratio")
    print_table(
        [title, *(name.replace("_", " ") for name in (*rates, *ratios))],
        [
            [
                way,
                *(f"{row[name]:.{0 if row[name] >= 100 else 1}f}" for name in rates),
                *(f"{row[name]:.2f}" for name in ratios),
            ]
            for way, row in summary.items()
        ],
    )
