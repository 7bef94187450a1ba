"""Rows in = rows with clips + rows listed with a reason, and how many of them are too many."""

from collections import Counter
from collections.abc import Iterable

from t2vgan.data.shards import Manifest
from t2vgan.utils.console import escape_control_chars

from ..build.protocol import BuiltShard
from .plan import FILTERS

MOST_LISTED = 100


class TooManyBadRows(Exception):  # noqa: N818 (a limit that the user set)
    """More rows failed than --max-bad-fraction allows."""


class BadRows:
    """Counts the rows that failed by accident; stops when the limit cannot be kept any more."""

    def __init__(self, num_rows: int, max_fraction: float):
        self._num_rows = num_rows
        self._max_fraction = max_fraction
        self._num_bad = 0

    def see(self, built: BuiltShard) -> None:
        """Count a shard's failures; raise TooManyBadRows."""
        self._num_bad += sum(failure.reason not in FILTERS for failure in built.failures)
        if self._num_bad > self._max_fraction * self._num_rows:
            raise TooManyBadRows(
                f"{self._num_bad} of {self._num_rows} rows failed, more than "
                f"--max-bad-fraction {self._max_fraction:g} allows"
            )


def judge(manifest: Manifest, max_fraction: float) -> int:
    """Say how many rows of a finished build failed; return its exit code."""
    assert manifest.input is not None
    reasons = {name: n for name, n in manifest.input.failures.items() if name not in FILTERS}
    if not reasons:
        return 0
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    print(f"of {manifest.input.num_rows} rows failed: {counts} (failures.jsonl names each)")
    return int(sum(reasons.values()) > max_fraction * manifest.input.num_rows)


def listing(built: Iterable[BuiltShard]) -> list[str]:
    """Return a line for each row that failed by accident; of very many, for the first ones."""
    failures = [f for shard in built for f in shard.failures if f.reason not in FILTERS]
    lines = [
        escape_control_chars(f"row {f.row} ({f.source}): {f.reason}: {f.message}")
        for f in sorted(failures, key=lambda failure: failure.row)
    ]
    return lines[:MOST_LISTED] + ["..."] * (len(lines) > MOST_LISTED)


def table(built: Iterable[BuiltShard], num_rows: int) -> list[str]:
    """Return the summary's lines: rows, clips, and how many were left out for which reason."""
    built = list(built)
    num_clips = sum(shard.entry.num_samples for shard in built if shard.entry)
    failures = [failure for shard in built for failure in shard.failures]
    counts = Counter(failure.reason for failure in failures)
    lines = [f"{num_rows:9d} rows in", f"{num_clips:9d} clips out"]
    for reason, count in counts.most_common():
        example = next(failure for failure in failures if failure.reason == reason)
        what = "filtered" if reason in FILTERS else "failed"
        place = f"row {example.row} ({example.source})" if example.source else f"row {example.row}"
        lines.append(
            f"{count:9d} {what}: {reason:12} e.g. "
            + escape_control_chars(f"{place}: {example.message}")
        )
    return lines


def shards_to_retry(built: Iterable[BuiltShard]) -> set[int]:
    """Return the shards in which a row failed by accident."""
    return {
        shard.index
        for shard in built
        if any(failure.reason not in FILTERS for failure in shard.failures)
    }
