"""Write each rank's status to a file, to find missing ranks.

    run_dir/heartbeats/rank_00003.json    host, pid, step, activity and its duration

A thread writes the file every second, so that a stopped process can be told from a slow one.
Durations come from each writer's monotonic clock, and from how long a file has not changed while
this process watched, so jumps of the system clock affect neither.
"""

import json
import logging
import os
import socket
import threading
import time
from pathlib import Path
from typing import Any

from t2vgan.errors import UserError
from t2vgan.utils.console import escape_control_chars
from t2vgan.utils.files import replace_file
from t2vgan.utils.records import find_heartbeats
from t2vgan.utils.untrusted import parse_json, read_bytes

MAX_BYTES = 64_000
WRITE_EVERY_SECONDS = 1.0
SILENT_AFTER_SECONDS = 5 * WRITE_EVERY_SECONDS
WARN_AT_SHARE = 0.7  # of the timeout that ends a wait for another rank

logger = logging.getLogger(__name__)


def heartbeat_path(run_dir: Path, rank: int) -> Path:
    return run_dir / "heartbeats" / f"rank_{rank:05d}.json"


class Heartbeat:
    """Write this rank's status in a thread inside the context."""

    def __init__(self, run_dir: Path, *, rank: int, world_size: int) -> None:
        self.run_dir, self.rank, self.world_size = run_dir, rank, world_size
        self.progress = (0, "starting")
        self.since = time.monotonic()
        self.warn_after_seconds = float("inf")
        self.warned_at = self.progress
        self.is_watching = False
        self.seen: dict[int, tuple[bytes, float]] = {}  # rank -> its file, and since when
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def update(self, step: int, activity: str) -> None:
        """Set this rank's step and activity, which the thread writes."""
        self.progress, self.since = (step, activity), time.monotonic()

    def set_timeout(self, seconds: float) -> None:
        """Warn, naming the ranks, when an activity takes most of that time."""
        self.warn_after_seconds = WARN_AT_SHARE * seconds

    def watch(self) -> None:
        """Watch the other ranks' files long enough to find the silent ones."""
        self.is_watching = True
        self.stopped.wait(SILENT_AFTER_SECONDS + 2 * WRITE_EVERY_SECONDS)

    def report(self) -> str:
        """Describe every rank in one line, missing and slow ones first."""
        now = time.monotonic()
        ranks = {rank: self._read_rank(rank, now) for rank in range(self.world_size)}
        last_step = max(status["step"] for status in ranks.values())
        late = [
            rank
            for rank, status in ranks.items()
            if status["silent"] > SILENT_AFTER_SECONDS or status["step"] < last_step
        ]
        summary = f"missing or slow: rank {', '.join(map(str, late))}; " if late else ""
        return summary + "; ".join(format_rank(rank, status) for rank, status in ranks.items())

    def _read_rank(self, rank: int, now: float) -> dict[str, Any]:
        """Return a rank's last status and the seconds it has been silent."""
        if rank == self.rank:
            return self._own_status(now) | {"silent": 0.0}
        data, since = self.seen.get(rank, (b"", now))
        return parse_status(data) | {"silent": now - since if data else float("inf")}

    def _own_status(self, now: float) -> dict[str, Any]:
        step, activity = self.progress
        return {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "step": step,
            "doing": activity,
            "seconds": round(now - self.since, 1),
            "wall_time": round(time.time(), 3),  # for people; nothing is computed from it
        }

    def _run(self) -> None:
        while True:
            now = time.monotonic()
            self._write(now)
            if self.is_watching or now - self.since > self.warn_after_seconds / 2:
                self._read_others(now)  # not always: every rank would read every file
            is_stuck = now - self.since > self.warn_after_seconds
            if is_stuck and self.warned_at != self.progress and self.world_size > 1:
                self.warned_at = self.progress
                waited = now - self.since
                logger.warning("rank %d has waited %.0f s; %s", self.rank, waited, self.report())
            if self.stopped.wait(WRITE_EVERY_SECONDS):
                return

    def _write(self, now: float) -> None:
        try:
            replace_file(heartbeat_path(self.run_dir, self.rank), json.dumps(self._own_status(now)))
        except OSError as error:  # a heartbeat that cannot be written must not stop a run
            logger.debug("no heartbeat: %s", error)

    def _read_others(self, now: float) -> None:
        """Record when each other rank's file last changed."""
        for rank in set(range(self.world_size)) - {self.rank}:
            try:
                data = read_bytes(heartbeat_path(self.run_dir, rank), MAX_BYTES)
            except OSError:
                continue
            if self.seen.get(rank, (b"", 0.0))[0] != data:
                self.seen[rank] = (data, now)

    def __enter__(self) -> "Heartbeat":
        for path in self._own_files():
            path.unlink(missing_ok=True)  # left by an earlier process
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopped.set()
        self.thread.join()
        for path in self._own_files():
            path.unlink(missing_ok=True)

    def _own_files(self) -> list[Path]:
        """Return the files to remove; rank 0 includes those of former ranks."""
        if self.rank:
            return [heartbeat_path(self.run_dir, self.rank)]
        files = find_heartbeats(self.run_dir)
        return [path for rank, path in files.items() if rank == 0 or rank >= self.world_size]


def parse_status(data: bytes) -> dict[str, Any]:
    """Return a rank's status; fields missing in its file stay unknown."""
    status = {"host": "?", "pid": 0, "step": -1, "doing": "never seen", "seconds": 0.0}
    try:
        found = parse_json(data)
    except UserError:
        return status
    if isinstance(found, dict):
        kinds: dict[str, Any] = {"seconds": (int, float)}
        for name, default in status.items():
            if isinstance(found.get(name), kinds.get(name, type(default))):
                status[name] = found[name]
    return status


def format_rank(rank: int, status: dict[str, Any]) -> str:
    if status["silent"] == float("inf"):
        return f"rank {rank} (never seen, or ended by itself)"
    text = f"rank {rank} ({status['host']}, pid {status['pid']}): step {status['step']}"
    text += f", {status['doing']} for {status['seconds']:.0f} s"
    if status["silent"] > SILENT_AFTER_SECONDS:
        text += f", silent for {status['silent']:.0f} s"
    return escape_control_chars(text)  # other ranks' files are untrusted
