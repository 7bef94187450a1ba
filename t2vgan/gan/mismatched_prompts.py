"""Draw mismatched prompts, the negatives of prompt conditioning.

Most prompts of a rich data set differ from a clip's in everything. One word then suffices to
discriminate, and the others get no gradient: so some negatives differ in a single word.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from t2vgan.tokenizer import tokenize
from t2vgan.utils.seeds import random_generator

MAX_PROMPTS = 200_000  # of more, the index would fill gigabytes; they are drawn from all

Gap = tuple[str | None, ...]
"""A prompt's words with one of them left open."""


class MismatchedPrompts:
    """Draw another prompt of the data, some of them one word away."""

    def __init__(self, prompts: Sequence[str], hard_share: float) -> None:
        self.prompts = prompts
        self.hard_share = hard_share if len(prompts) <= MAX_PROMPTS else 0.0
        spelt = {tuple(tokenize(prompt)): index for index, prompt in enumerate(prompts)}
        self.ids = spelt if self.hard_share else {}  # of several spellings one stands for all
        self.neighbours = _index_neighbours(self.ids)

    def draw(
        self, prompts: Sequence[str], positions: np.ndarray, *, seed: int, step: int, num_clips: int
    ) -> list[str]:
        """Return another prompt for each clip, by chance sometimes the same.

        `positions` are the clips' places in the global batch of `num_clips`.
        """
        random = random_generator(seed, "other prompts", step)
        others = random.integers(len(self.prompts), size=num_clips)[positions].tolist()
        draws = random.random((num_clips, 3))[positions]
        for clip, (is_hard, place, neighbour) in enumerate(draws.tolist()):
            words = tuple(tokenize(prompts[clip])) if is_hard < self.hard_share else ()
            if (own := self.ids.get(words)) is not None:
                groups = [group for key in _gaps(words) if (group := self.neighbours.get(key))]
                if groups:
                    group = groups[int(place * len(groups))]
                    index = int(neighbour * (len(group) - 1))
                    others[clip] = group[index + (index >= bisect_left(group, own))]
        return [self.prompts[other] for other in others]


def _index_neighbours(ids: Mapping[tuple[str, ...], int]) -> dict[Gap, list[int]]:
    """Return the prompts that differ in one word, by their gap."""
    neighbours: dict[Gap, list[int]] = defaultdict(list)
    for words, number in sorted(ids.items(), key=lambda item: item[1]):
        for gap in _gaps(words):
            neighbours[gap].append(number)
    return {gap: group for gap, group in neighbours.items() if len(group) > 1}


def _gaps(words: tuple[str, ...]) -> list[Gap]:
    """Return a prompt's words with each of them left open in turn."""
    return [(*words[:place], None, *words[place + 1 :]) for place in range(len(words))]
