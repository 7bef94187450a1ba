"""Detect training that fails without stopping, and suggest remedies.

An alarm is raised when its finding holds in enough of the last records, and is over when it no
longer does.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from t2vgan.config import TrainConfig
from t2vgan.training.health.variety import Variety

SATURATED_LOSS = 0.01  # discriminator loss below which it separates nearly every pair
INDIFFERENCE = 0.02  # largest difference of both losses from those of equal logits
WEAK_GRADIENT = 0.3  # change of the generator's loss with a step of one std in all pixels: blind
# runs had 0.07 to 0.26, healthy ones 5
ALIKE_PROMPTS = 0.05  # difference between prompts, relative to real clips
ALIKE_SEEDS = 0.15  # difference between seeds, relative to real clips
CHANCE_RECOVERY = 0.95  # recovery loss; predicting 0 for normal latents gives 1
PROMPTS_FROM = 0.25  # share of the run after which prompts must make a difference
SEEDS_FROM = 0.5  # the same for seeds; later if the recovery weight rises later


class Finding(NamedTuple):
    """The message of an alarm, and when it is raised."""

    found: str
    remedy: str
    num_records: int
    """Number of last records that are considered."""
    num_held: int
    """Number of these in which it must hold; not all, if a single step may explode in between."""

    def __str__(self) -> str:
        return f"{self.found}; try {self.remedy}"


FINDINGS = {
    "saturated_discriminator": Finding(
        f"the discriminator is saturated: its loss is below {SATURATED_LOSS}",
        "a higher --train.gamma-start and --train.gamma-end, or a lower --train.discriminator-lr",
        num_records=5,
        num_held=5,
    ),
    "blind_discriminator": Finding(
        "the discriminator is blind: real and generated clips get the same score, and no gradient"
        " reaches the pixels",
        "a tenth of --train.gamma-start and --train.gamma-end, and data whose clips are neither"
        " nearly black nor nearly uniform",
        num_records=10,
        num_held=7,
    ),
    "prompts_ignored": Finding(
        "prompts make no difference: clips of one seed and different prompts differ less than"
        f" {ALIKE_PROMPTS:.0%} as much as real clips of different prompts",
        "a higher --train.mismatched-weight, a higher --train.lr-hold, and captions that describe"
        " what the clips show",
        num_records=1,
        num_held=1,
    ),
    "seeds_ignored": Finding(
        f"seeds make no difference: clips of one prompt differ less than {ALIKE_SEEDS:.0%} as much"
        " as real ones",
        "a higher --train.mode-seeking-weight, --train.recovery-weight or"
        " --train.recovered-latents, or a lower --train.recovery-hold and --train.recovery-until",
        num_records=1,
        num_held=1,
    ),
    "latents_not_recovered": Finding(
        "latents are not recovered: the discriminator predicts them no better than chance",
        "a higher --train.recovery-weight, or a lower --train.recovery-hold and"
        " --train.recovery-until, between which the weight rises",
        num_records=5,
        num_held=5,
    ),
}


@dataclass(frozen=True)
class AlarmChange:
    """An alarm that was raised or is over."""

    name: str
    is_over: bool

    @property
    def message(self) -> str:
        finding = FINDINGS[self.name]
        return f"resolved: {finding.found}" if self.is_over else str(finding)


class AlarmMonitor:
    """Raise alarms from a run's records, each once until it is over.

    `num_values` is the number of values (pixels times channels) of a clip that the discriminator
    sees.
    """

    def __init__(self, train: TrainConfig, num_values: int) -> None:
        self.train, self.num_values = train, num_values
        self.held: dict[str, list[bool]] = {}
        """Whether each finding held in its last records."""

    def state_dict(self) -> dict[str, list[bool]]:
        """Return the state for a checkpoint."""
        return {name: list(held) for name, held in self.held.items()}

    def load_state_dict(self, state: Mapping[str, Sequence[bool]]) -> None:
        """Restore the state of a checkpoint."""
        self.held = {name: list(held) for name, held in state.items()}

    @property
    def active(self) -> list[str]:
        """The names of alarms that are on."""
        return [name for name, f in FINDINGS.items() if sum(self.held.get(name, [])) >= f.num_held]

    def check_metrics(self, metrics: Mapping[str, float], progress: float) -> list[AlarmChange]:
        """Check a record of training metrics.

        `progress` is 0 at the run's start and 1 at its end.
        """
        loss = metrics["loss/discriminator"]
        changes = self._update("saturated_discriminator", loss < SATURATED_LOSS)
        changes += self._update("blind_discriminator", self._is_blind(metrics))
        if (recovery := metrics.get("recovery/loss")) is not None:
            holds = self.needs_recovery(progress) and recovery > CHANCE_RECOVERY
            changes += self._update("latents_not_recovered", holds)
        return changes

    def check_variety(self, variety: Variety, progress: float) -> list[AlarmChange]:
        """Check how much prompts and seeds change generated clips."""
        changes = []
        for name, value, limit, since in (
            ("prompts_ignored", variety.prompts, ALIKE_PROMPTS, PROMPTS_FROM),
            ("seeds_ignored", variety.seeds, ALIKE_SEEDS, self.varied_from),
        ):
            if value is not None:
                changes += self._update(name, progress >= since and value < limit)
        return changes

    @property
    def varied_from(self) -> float:
        """The progress from which seeds must make a difference."""
        return max(SEEDS_FROM, sum(self.train.recovery_rise) / 2)

    def needs_recovery(self, progress: float) -> bool:
        """Return whether latents must be recovered by now."""
        train = self.train
        is_only_loss = train.recovery_weight > 0 and not train.mode_seeking_weight
        return is_only_loss and progress >= self.varied_from

    def _is_blind(self, metrics: Mapping[str, float]) -> bool:
        equal_logits = math.log(2)
        both = 1 if self.train.loss == "relativistic" else 2  # losses of real and of fake clips
        gradient = metrics.get("gradient_norm/video")
        return (
            gradient is not None
            and abs(metrics["loss/discriminator"] - both * equal_logits) < INDIFFERENCE
            and abs(metrics["loss/generator"] - equal_logits) < INDIFFERENCE
            and gradient * math.sqrt(self.num_values) < WEAK_GRADIENT
        )

    def _update(self, name: str, holds: bool) -> list[AlarmChange]:
        was_active = name in self.active
        self.held[name] = [*self.held.get(name, []), holds][-FINDINGS[name].num_records :]
        is_active = name in self.active
        return [AlarmChange(name, is_over=was_active)] if is_active != was_active else []
