"""Count samples that could not be used, and limit them."""

from collections.abc import Mapping, Sequence

from t2vgan.config import DataConfig
from t2vgan.data.loader import BadSample
from t2vgan.errors import UserError

NAMED_PER_REASON = 5


class BadSamples:
    """Count bad samples over all ranks, by reason."""

    def __init__(self, data: DataConfig) -> None:
        self.data = data
        self.counts: dict[str, int] = {}

    @property
    def total(self) -> int:
        """All bad samples."""
        return sum(self.counts.values())

    def update(self, bad_samples: Sequence[BadSample]) -> list[str]:
        """Count samples; return messages on the first ones of each reason."""
        messages = []
        for bad in bad_samples:
            self.counts[bad.reason] = self.counts.get(bad.reason, 0) + 1
            if self.counts[bad.reason] <= NAMED_PER_REASON:
                messages.append(
                    f"bad sample {bad.key} in {bad.shard}: {bad.reason}: {bad.detail};"
                    " a neighbour takes its place"
                )
        return messages

    def check(self, clips_seen: int, last: BadSample) -> None:
        """Check the limit; the counts are equal on all ranks.

        Raises:
            UserError: more than data.max_bad_fraction of the clips shown were bad.
        """
        if self.total <= max(1, self.data.max_bad_fraction * clips_seen):
            return
        reasons = ", ".join(f"{reason} {count}" for reason, count in self.counts.items())
        raise UserError(
            f"{self.total} of {clips_seen} clips could not be used ({reasons}), more than"
            f" data.max_bad_fraction={self.data.max_bad_fraction}; last: {last.shard} {last.key}:"
            f" {last.detail} (t2vgan verify checks a whole folder)"
        )

    def load(self, counts: Mapping[str, int]) -> None:
        """Go on from a checkpoint's counts."""
        self.counts = dict(counts)
