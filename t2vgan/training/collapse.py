"""Detect a saturated discriminator and mode collapse."""

from collections import deque
from collections.abc import Mapping

SATURATED_LOSS = 0.01  # of the discriminator: it separates nearly every pair
SATURATED_RECORDS = 5
COLLAPSED_DIVERSITY = 0.1  # of that of real clips


class CollapseMonitor:
    """Warn when training collapses, once for as long as it lasts."""

    def __init__(self) -> None:
        self.losses: deque[float] = deque(maxlen=SATURATED_RECORDS)
        self.active: set[str] = set()

    def check_losses(self, metrics: Mapping[str, float]) -> str | None:
        """Return a warning if the discriminator no longer teaches the generator."""
        self.losses.append(metrics["loss/discriminator"])
        saturated = len(self.losses) == SATURATED_RECORDS and max(self.losses) < SATURATED_LOSS
        return self._once(
            saturated,
            f"the discriminator is saturated: its loss is below {SATURATED_LOSS} in"
            f" {SATURATED_RECORDS} records in a row; raise gamma or lower its learning rate",
        )

    def check_diversity(self, diversity: float | None) -> str | None:
        """Return a warning if clips of one prompt have become alike."""
        collapsed = diversity is not None and diversity < COLLAPSED_DIVERSITY
        return self._once(
            collapsed,
            f"clips of one prompt are alike: their diversity is below {COLLAPSED_DIVERSITY} of that"
            " of real clips; the generator has collapsed, go back to an earlier checkpoint or raise"
            " gamma",
        )

    def _once(self, is_on: bool, warning: str) -> str | None:
        if not is_on:
            self.active.discard(warning)
            return None
        if warning in self.active:
            return None
        self.active.add(warning)
        return warning
