"""Follow a run's files as they grow, also missing or half-written ones."""

import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from t2vgan.tracking.metrics_log import METRICS_NAME, Record, parse_records

SILENT_AFTER_SECONDS = 30.0  # network folders show changes late


@dataclass
class RunSnapshot:
    """A run's records and status at one moment."""

    run_dir: Path
    config: Record = field(default_factory=dict)
    environment: Record = field(default_factory=dict)
    train: list[Record] = field(default_factory=list)
    evaluations: list[Record] = field(default_factory=list)
    events: list[Record] = field(default_factory=list)
    ranks: dict[int, Record] = field(default_factory=dict)
    """The heartbeat of each rank that is alive or was killed; a run that ended has none."""
    silent_seconds: float | None = None
    """Time since any of its files changed; None where nothing has been written."""

    @property
    def num_steps(self) -> int:
        return int(self.config.get("train", {}).get("num_steps", 0))

    @property
    def step(self) -> int:
        """The last known step."""
        last = [records[-1]["step"] for records in (self.train, self.events) if records]
        return max([0, *last, *(int(rank.get("step", 0)) for rank in self.ranks.values())])

    @property
    def is_complete(self) -> bool:
        return 0 < self.num_steps <= self.step and not self.ranks

    @property
    def is_alive(self) -> bool:
        silent = self.silent_seconds
        return bool(self.ranks) and silent is not None and silent < SILENT_AFTER_SECONDS

    @property
    def seconds_left(self) -> float | None:
        """Time to the last step at the present rate; None while unknown."""
        if not self.train or not self.train[-1].get("clips_per_second"):
            return None
        record = self.train[-1]
        clips_a_step = record["clips_seen"] / record["step"]
        return (self.num_steps - self.step) * clips_a_step / record["clips_per_second"]

    @property
    def warnings(self) -> list[Record]:
        return [event for event in self.events if event.get("warning") is True]


class Follower:
    """Reads a run repeatedly, and of metrics.jsonl only what is new."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.path = run_dir / METRICS_NAME
        self.records: list[Record] = []
        self.position = 0
        self.identity: tuple[int, int] = (0, 0)
        self.seen: dict[Path, int] = {}  # file -> its modification time, by the file server's clock
        self.changed: float | None = None  # time of the last change, by our own monotonic clock

    def read(self) -> RunSnapshot:
        """Read the run as it is now."""
        self._read_new_records()
        by_kind: dict[str, list[Record]] = {"train": [], "evaluation": [], "event": []}
        for record in self.records:
            by_kind.get(record.get("kind", ""), []).append(record)
        beats = sorted((self.run_dir / "heartbeats").glob("rank_*.json"))
        return RunSnapshot(
            run_dir=self.run_dir,
            config=read_json(self.run_dir / "config.json"),
            environment=read_json(self.run_dir / "run.json"),
            train=by_kind["train"],
            evaluations=by_kind["evaluation"],
            events=by_kind["event"],
            ranks={int(path.stem.removeprefix("rank_")): read_json(path) for path in beats},
            silent_seconds=self._seconds_since_change([self.path, *beats]),
        )

    def _read_new_records(self) -> None:
        """Read the lines added since; a replaced file from its start.

        A run that resumes replaces the file by a shorter one without the steps it will do again.
        """
        try:
            with open(self.path, "rb") as file:
                status = os.fstat(file.fileno())
                identity = (status.st_dev, status.st_ino)
                if identity != self.identity or status.st_size < self.position:
                    self.records, self.position, self.identity = [], 0, identity
                file.seek(self.position)
                added = file.read()
        except OSError:
            return
        whole = added[: added.rfind(b"\n") + 1]
        self.position += len(whole)
        self.records += parse_records(whole.splitlines())

    def _seconds_since_change(self, paths: list[Path]) -> float | None:
        """Return the seconds since a file changed.

        At the first call by the clocks' difference, which may be off; then by our own clock.
        """
        now = time.monotonic()
        for path in paths:
            try:
                stamp = path.stat().st_mtime_ns
            except OSError:
                continue
            if stamp != self.seen.get(path):
                age = 0.0 if path in self.seen else max(0.0, time.time() - stamp / 1e9)
                self.changed = max(now - age, self.changed or now - age)
                self.seen[path] = stamp
        return None if self.changed is None else now - self.changed


def read_json(path: Path) -> dict[str, Any]:
    """Read a file's JSON object; empty while there is none."""
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
