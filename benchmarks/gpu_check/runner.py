"""Run commands one after the other, each within its own time limit."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO

from benchmarks.gpu_check.items import SECONDS, Item
from benchmarks.measure import ROOT
from benchmarks.record import find_record

LEAST_SECONDS = 5.0  # minimum time in which an item can do anything
POLL_SECONDS = 0.05
STOPPING_SECONDS = 4.0  # part of an item's limit, reserved for ending it
MAX_OUTPUT = 3000  # characters of output to keep if an item was not done


@dataclass(frozen=True)
class Outcome:
    """How an item ended."""

    item: str
    state: str
    """done, failed (exit code N), over its limit of N s, or not run: no time left."""
    seconds: float
    headline: str = ""
    """Headline of the record that the item wrote."""
    output: str = ""
    """The end of the output, if the item was not done."""


def run_items(items: Sequence[Item], seconds: float) -> Iterator[Outcome]:
    """Yield the outcome of each item, all within `seconds` in total.

    An item that takes the rest leaves later items their own limits.
    """
    end = time.monotonic() + seconds
    for number, item in enumerate(items):
        left = end - time.monotonic()
        limit = item.seconds
        if item.takes_rest:
            limit = max(limit, left - sum(later.seconds for later in items[number + 1 :]))
        limit = min(limit, left)
        if limit < LEAST_SECONDS:
            yield Outcome(item.name, "not run: no time left", 0.0)
        else:
            yield run_item(item, limit)


def run_item(item: Item, limit: float) -> Outcome:
    """Run one item in a process group, and end the group.

    Its record is read even if the item was killed, as it may have been written before.
    """
    start, before = time.monotonic(), read_headline(item)
    seconds = str(int(limit - STOPPING_SECONDS))
    command = [seconds if part == SECONDS else part for part in item.command]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code = process.wait(limit - STOPPING_SECONDS)
            state = "done" if code == 0 else f"failed (exit code {code})"
        except subprocess.TimeoutExpired:
            state = f"over its limit of {limit:.0f} s"
        finally:
            end_group(process)
        text = "" if state == "done" else read_end(output)
    headline = read_headline(item)
    return Outcome(
        item.name,
        state,
        round(time.monotonic() - start, 2),
        headline[1] if headline and headline != before else "",
        text,
    )


def end_group(process: subprocess.Popen[bytes]) -> None:
    """End a process and its children, with SIGTERM, then SIGKILL."""
    with suppress(ProcessLookupError):  # the group is empty
        for number in (signal.SIGTERM, signal.SIGKILL):
            os.killpg(process.pid, number)
            end = time.monotonic() + STOPPING_SECONDS / 2
            while time.monotonic() < end:
                process.poll()
                os.killpg(process.pid, 0)
                time.sleep(POLL_SECONDS)
    process.wait()


def read_headline(item: Item) -> tuple[int, str] | None:
    """Return when an item's record was written, and its headline."""
    path = find_record(item.record) if item.record else None
    if path is None:
        return None
    return path.stat().st_mtime_ns, json.loads(path.read_text()).get("headline", "")


def read_end(output: IO[bytes]) -> str:
    """Return the last characters of an output."""
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - 4 * MAX_OUTPUT))
    return output.read().decode(errors="replace")[-MAX_OUTPUT:]
