"""Define the result of a check."""

from dataclasses import dataclass

FIT, WARNING, UNFIT = "fit", "warning", "NOT FIT"


@dataclass(frozen=True)
class CheckResult:
    """Hold the finding of one check over all ranks."""

    name: str
    verdict: str
    text: str


def count_of(count: int, one: str, many: str = "") -> str:
    """Return "1 shard", "2 shards"."""
    return f"{count} {one if count == 1 else many or one + 's'}"
