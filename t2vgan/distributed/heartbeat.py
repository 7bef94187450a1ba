"""Who is where: each rank says so in a file of its own, and reads the others' when one is missed.

    run_dir/heartbeats/rank_00003.json    host, pid, step, what it is doing and for how long

A thread writes the file every few seconds, so a process that stands still is silent, while one that
is only slow goes on saying what it does. Ages come from each writer's own steady clock and from
how long its file has not changed while we watched: a clock that jumps confuses neither.
"""

import json
import logging
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from t2vgan.utils.files import replace_file

WRITE_EVERY_SECONDS = 1.0
SILENT_AFTER_SECONDS = 5 * WRITE_EVERY_SECONDS
WARN_AT_SHARE = 0.7  # of the timeout that ends a wait for another rank

logger = logging.getLogger(__name__)


def heartbeat_path(run_dir: Path, rank: int) -> Path:
    return run_dir / "heartbeats" / f"rank_{rank:05d}.json"


class Heartbeat:
    """Says where this rank is; use it in a `with` statement."""

    def __init__(self, run_dir: Path, *, rank: int, world_size: int) -> None:
        self.run_dir, self.rank, self.world_size = run_dir, rank, world_size
        self.place = (0, "starting")
        self.since = time.monotonic()
        self.patience = float("inf")
        self.warned_at = self.place
        self.is_watching = False
        self.seen: dict[int, tuple[str, float]] = {}  # rank -> its file's text, and since when
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def at(self, step: int, doing: str) -> None:
        """Say what this rank does from now on; costs nothing, the thread writes it down."""
        self.place, self.since = (step, doing), time.monotonic()

    def expect_within(self, seconds: float) -> None:
        """Warn, naming the ranks, when this one stands still for most of that time."""
        self.patience = WARN_AT_SHARE * seconds

    def listen(self) -> None:
        """Wait long enough to tell silent ranks from busy ones."""
        self.is_watching = True
        self.stopped.wait(SILENT_AFTER_SECONDS + 2 * WRITE_EVERY_SECONDS)

    def report(self) -> str:
        """Return one line on every rank, those that are missing or behind first by name."""
        now = time.monotonic()
        places = {rank: self._look(rank, now) for rank in range(self.world_size)}
        last_step = max(place["step"] for place in places.values())
        late = [
            rank
            for rank, place in places.items()
            if place["silent"] > SILENT_AFTER_SECONDS or place["step"] < last_step
        ]
        blamed = f"missing or slow: rank {', '.join(map(str, late))}; " if late else ""
        return blamed + "; ".join(describe(rank, place) for rank, place in places.items())

    def _look(self, rank: int, now: float) -> dict[str, Any]:
        """Return a rank's last word with how long it has been silent."""
        unknown = {"host": "?", "pid": 0, "step": -1, "doing": "never seen", "seconds": 0.0}
        if rank == self.rank:
            return self._word(now) | {"silent": 0.0}
        text, since = self.seen.get(rank, ("", now))
        try:
            word = unknown | json.loads(text)
        except (ValueError, TypeError):
            word = unknown
        silent = now - since if text else float("inf")
        return word | {"silent": silent}

    def _word(self, now: float) -> dict[str, Any]:
        step, doing = self.place
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "step": step,
            "doing": doing,
            "seconds": round(now - self.since, 1),
            "wall_time": round(time.time(), 3),  # for people; nothing is computed from it
        }

    def _beat(self) -> None:
        while True:
            now = time.monotonic()
            self._write(now)
            if self.is_watching or now - self.since > self.patience / 2:
                self._watch(now)  # not always: ranks times ranks are many files
            stuck = now - self.since > self.patience and self.warned_at != self.place
            if stuck and self.world_size > 1:
                self.warned_at = self.place
                waited = now - self.since
                logger.warning("rank %d has waited %.0f s; %s", self.rank, waited, self.report())
            if self.stopped.wait(WRITE_EVERY_SECONDS):
                return

    def _write(self, now: float) -> None:
        try:
            replace_file(heartbeat_path(self.run_dir, self.rank), json.dumps(self._word(now)))
        except OSError as error:  # a full disk must not stop a run by its heartbeat
            logger.debug("no heartbeat: %s", error)

    def _watch(self, now: float) -> None:
        """Note when each other rank's file last changed."""
        for rank in set(range(self.world_size)) - {self.rank}:
            try:
                text = heartbeat_path(self.run_dir, rank).read_text()
            except OSError:
                continue
            if self.seen.get(rank, ("", 0.0))[0] != text:
                self.seen[rank] = (text, now)

    def __enter__(self) -> "Heartbeat":
        for path in self._own_files():
            path.unlink(missing_ok=True)  # of an earlier life, with another pid
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()
        for path in self._own_files():
            path.unlink(missing_ok=True)

    def _own_files(self) -> list[Path]:
        """The main rank also clears away files of ranks that this run no longer has."""
        if self.rank:
            return [heartbeat_path(self.run_dir, self.rank)]
        names = (self.run_dir / "heartbeats").glob("rank_*.json")
        ranks = {path: int(path.stem.removeprefix("rank_")) for path in names}
        return [path for path, rank in ranks.items() if rank == 0 or rank >= self.world_size]


def describe(rank: int, place: dict[str, Any]) -> str:
    where = f"rank {rank} ({place['host']}, pid {place['pid']}): step {place['step']}"
    where += f", {place['doing']} for {place['seconds']:.0f} s"
    if place["silent"] > SILENT_AFTER_SECONDS:
        where += f", silent for {place['silent']:.0f} s"
    return where
