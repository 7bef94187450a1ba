"""Account for all rows: packed, filtered or failed."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict

from t2vgan.data.shards import Manifest
from t2vgan.utils.console import escape_control_chars, print_stdout

from ..build.destination import Destination
from ..build.protocol import BuiltShard, Failure
from .input_list.rows import PassedOver
from .plan import FILTERS

MAX_LISTED = 100
PASSED_OVER_NAME = "passed_over.jsonl"


class TooManyBadRows(Exception):  # noqa: N818 (a limit that the user set)
    """More rows failed than --max-bad-fraction allows."""


def format_passed_over(passed_over: Iterable[PassedOver]) -> list[str]:
    """Format the reasons why files were skipped, one per line."""
    by_reason: dict[str, list[str]] = {}
    for entry in passed_over:
        by_reason.setdefault(entry.reason, []).append(entry.path)
    lines = [
        escape_control_chars(f"{len(paths):9d} ignored: {reason}, e.g. {paths[0]}")
        for reason, paths in sorted(by_reason.items())
    ]
    return lines[:MAX_LISTED] + ["..."] * (len(lines) > MAX_LISTED)


def write_passed_over(out: Destination, passed_over: list[PassedOver]) -> None:
    """Write the skipped files, one per line, if there are any."""
    lines = [json.dumps(asdict(entry)) for entry in passed_over]
    if lines:
        out.write(PASSED_OVER_NAME, "".join(f"{line}\n" for line in lines).encode())


def errors_of(built: BuiltShard) -> list[Failure]:
    """Return the failures of a shard, without those that filters caused."""
    return [failure for failure in built.failures if failure.reason not in FILTERS]


class BadRows:
    """Count failed rows against a limit."""

    def __init__(self, num_rows: int, max_fraction: float):
        self._num_rows = num_rows
        self._max_fraction = max_fraction
        self._num_bad = 0
        self.shards: list[BuiltShard] = []

    def add(self, built: BuiltShard) -> None:
        """Count a shard's failures; raise TooManyBadRows above the limit."""
        self.shards.append(built)
        self._num_bad += len(errors_of(built))
        if self._num_bad > self._max_fraction * self._num_rows:
            raise TooManyBadRows(
                f"{self._num_bad} of {self._num_rows} rows failed, more than "
                f"--max-bad-fraction {self._max_fraction:g} allows"
            )


def report_failures(manifest: Manifest, max_fraction: float) -> int:
    """Print the failed rows of a finished build; return the exit code."""
    assert manifest.input is not None
    reasons = {name: n for name, n in manifest.input.failures.items() if name not in FILTERS}
    if not reasons:
        return 0
    counts = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
    num_bad, num_rows = sum(reasons.values()), manifest.input.num_rows
    print_stdout(f"{num_bad} of {num_rows} rows failed: {counts} (failures.jsonl lists them)")
    return int(num_bad > max_fraction * num_rows)


def format_failures(built: Iterable[BuiltShard]) -> list[str]:
    """Format failed rows, one per line; only the first of very many."""
    failures = [failure for shard in built for failure in errors_of(shard)]
    lines = [
        escape_control_chars(f"row {f.row} ({f.source}): {f.reason}: {f.message}")
        for f in sorted(failures, key=lambda failure: failure.row)
    ]
    return lines[:MAX_LISTED] + ["..."] * (len(lines) > MAX_LISTED)


def format_counts(built: Iterable[BuiltShard], num_rows: int) -> list[str]:
    """Format the numbers of rows, clips and reasons, one per line."""
    built = list(built)
    num_clips = sum(shard.entry.num_samples for shard in built if shard.entry)
    failures = [failure for shard in built for failure in shard.failures]
    counts = Counter(failure.reason for failure in failures)
    lines = [f"{num_rows:9d} rows in", f"{num_clips:9d} clips out"]
    for reason, count in counts.most_common():
        example = next(failure for failure in failures if failure.reason == reason)
        kind = "filtered" if reason in FILTERS else "failed"
        place = f"row {example.row} ({example.source})" if example.source else f"row {example.row}"
        lines.append(
            f"{count:9d} {kind}: {reason:12} e.g. "
            + escape_control_chars(f"{place}: {example.message}")
        )
    return lines


def shards_to_retry(built: Iterable[BuiltShard]) -> set[int]:
    """Return the shards in which a row failed."""
    return {shard.index for shard in built if errors_of(shard)}
