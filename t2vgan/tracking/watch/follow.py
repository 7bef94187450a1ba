"""Follow a run's files as they grow, even missing or incomplete ones."""

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from t2vgan.tracking.metrics_log import METRICS_NAME
from t2vgan.utils.records import Record, find_heartbeats, get_number, parse_records, read_object
from t2vgan.utils.untrusted import MAX_JSON_BYTES, open_file

SILENT_AFTER_SECONDS = 30.0  # network file systems show changes late


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
    """The heartbeat of each rank that is alive or was killed; empty after a normal end."""
    silent_seconds: float | None = None
    """Time since any of the run's files changed; None if nothing has been written."""

    @property
    def num_steps(self) -> int:
        return int(get_number(self.config, "train.num_steps") or 0)

    @property
    def step(self) -> int:
        """The last known step."""
        last = [records[-1]["step"] for records in (self.train, self.events) if records]
        return max([0, *last, *(int(get_number(r, "step") or 0) for r in self.ranks.values())])

    @property
    def is_complete(self) -> bool:
        return 0 < self.num_steps <= self.step and not self.ranks

    @property
    def is_alive(self) -> bool:
        silent = self.silent_seconds
        return bool(self.ranks) and silent is not None and silent < SILENT_AFTER_SECONDS

    @property
    def seconds_left(self) -> float | None:
        """Time to the last step at the current rate; None while unknown."""
        record = self.train[-1] if self.train else {}
        rate, step = get_number(record, "clips_per_second") or 0, get_number(record, "step") or 0
        if rate <= 0 or step <= 0:
            return None
        return (self.num_steps - self.step) * record["clips_seen"] / step / rate

    @property
    def warnings(self) -> list[Record]:
        return [event for event in self.events if event.get("warning") is True]


class Follower:
    """Reads a run repeatedly, but only new lines of metrics.jsonl."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.path = run_dir / METRICS_NAME
        self.records: list[Record] = []
        self.position = 0
        self.identity: tuple[int, int] = (0, 0)
        self.seen: dict[Path, int] = {}  # file -> modification time, by the file server's clock
        self.changed: float | None = None  # time of the last change, by the local monotonic clock

    def read(self) -> RunSnapshot:
        """Read the run as it is now."""
        self._read_new_records()
        by_kind: dict[str, list[Record]] = {"train": [], "evaluation": [], "event": []}
        for record in self.records:
            by_kind.get(record["kind"], []).append(record)
        beats = find_heartbeats(self.run_dir)
        return RunSnapshot(
            run_dir=self.run_dir,
            config=read_object(self.run_dir / "config.json") or {},
            environment=read_object(self.run_dir / "run.json") or {},
            train=by_kind["train"],
            evaluations=by_kind["evaluation"],
            events=by_kind["event"],
            ranks={rank: read_object(path) or {} for rank, path in beats.items()},
            silent_seconds=self._seconds_since_change([self.path, *beats.values()]),
        )

    def _read_new_records(self) -> None:
        """Read newly added lines, or a replaced file from its start.

        A run that resumes replaces the file by a shorter one, without the steps that it repeats.
        """
        try:
            with open_file(self.path) as file:
                status = os.fstat(file.fileno())
                identity = (status.st_dev, status.st_ino)
                if identity != self.identity or status.st_size < self.position:
                    self.records, self.position, self.identity = [], 0, identity
                file.seek(self.position)
                added = file.read(MAX_JSON_BYTES)
        except OSError:
            return
        is_endless = len(added) == MAX_JSON_BYTES and b"\n" not in added
        whole = added if is_endless else added[: added.rfind(b"\n") + 1]
        self.position += len(whole)
        found = parse_records(whole.split(b"\n"))
        self.records += [record for record in found if record is not None]

    def _seconds_since_change(self, paths: list[Path]) -> float | None:
        """Return the seconds since a file changed.

        The first call compares the clocks of both machines, which may differ; later calls use only
        the local clock.
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
