"""The order of several data sets mixed by weight: again arithmetic, and a function of the seed.

Every stream is dealt in rounds. In each, data set i has `slots[i]` places, permuted by (seed,
stream, round); the n-th place that it gets in a stream is sample n of its own order there. So the
shares are exact in every round, and seeking costs the counting of one round.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import repeat

import numpy as np

from t2vgan.data.sampler import StreamSampler
from t2vgan.utils.seeds import permutation

WEIGHT_STEP = Decimal("0.001")
"""Weights are told apart by thousandths, from one thousandth to a thousand."""


@dataclass(frozen=True)
class MixtureSampler:
    """The orders of one data set or more, and how many places each has in a round."""

    parts: tuple[StreamSampler, ...]
    slots: tuple[int, ...]
    seed: int

    @property
    def num_streams(self) -> int:
        return self.parts[0].num_streams

    def starts(self, stream: int, position: int) -> list[int]:
        """Return the position in each data set's own stream where a mixed stream's one lies."""
        number, offset = divmod(position, sum(self.slots))
        begun = np.bincount(self._round(stream, number)[:offset], minlength=len(self.slots))
        return [number * slots + int(count) for slots, count in zip(self.slots, begun, strict=True)]

    def draws(self, stream: int, position: int) -> Iterator[int]:
        """Yield which data set each sample of a stream comes from, from `position` on, for ever."""
        if len(self.slots) == 1:  # nothing to permute for each sample
            yield from repeat(0)
        number, offset = divmod(position, sum(self.slots))
        while True:
            yield from self._round(stream, number)[offset:].tolist()
            number, offset = number + 1, 0

    def _round(self, stream: int, number: int) -> np.ndarray:
        places = np.repeat(np.arange(len(self.slots)), self.slots)
        return places[permutation(len(places), self.seed, "mix", stream, number)]


def slots_of(weights: Sequence[Decimal]) -> tuple[int, ...]:
    """Return the smallest whole numbers that are to each other as the weights are."""
    thousandths = [int(weight / WEIGHT_STEP) for weight in weights]
    common = math.gcd(*thousandths)
    return tuple(number // common for number in thousandths)
