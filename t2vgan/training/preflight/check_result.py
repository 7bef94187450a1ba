"""Define the result of a check."""

from dataclasses import dataclass

FIT, WARNING, UNFIT = "fit", "warning", "NOT FIT"


@dataclass(frozen=True)
class CheckResult:
    """Hold the finding of one check over all ranks."""

    name: str
    verdict: str
    text: str
