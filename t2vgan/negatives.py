"""Which other prompt a real clip is shown with, so that the discriminator learns to read.

Most prompts of a rich data set differ from a clip's in everything, and one difference is enough to
tell them apart; so the rest is never read. One that differs in a single word asks for that word.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from t2vgan.seeds import random_generator
from t2vgan.text import tokenize

MOST_PROMPTS = 200_000  # of more, the index would fill gigabytes; they are drawn from all


class OtherPrompts:
    """Draws for a prompt another one of the data: any, or one that differs in a single word."""

    def __init__(self, prompts: Sequence[str], hard_share: float) -> None:
        self.prompts = prompts
        self.hard_share = hard_share
        is_hard = hard_share > 0 and len(prompts) <= MOST_PROMPTS
        self.neighbours = _index(prompts) if is_hard else []
        self.ids = {prompt: index for index, prompt in enumerate(prompts)}

    def draw(
        self, prompts: Sequence[str], positions: np.ndarray, *, seed: int, step: int, num_clips: int
    ) -> list[str]:
        """Return another prompt for each of some clips; by chance it is sometimes the same.

        `positions` are the clips' places in the global batch of `num_clips`.
        """
        random = random_generator(seed, "other prompts", step)
        others = random.integers(len(self.prompts), size=num_clips)[positions].tolist()
        draws = random.random((num_clips, 3))[positions]
        for clip, (is_hard, place, neighbour) in enumerate(draws.tolist()):
            groups = self.neighbours[self.ids[prompts[clip]]] if self.neighbours else ()
            if is_hard < self.hard_share and groups:
                group = groups[int(place * len(groups))]
                others[clip] = group[int(neighbour * len(group))]
        return [self.prompts[other] for other in others]


def _index(prompts: Sequence[str]) -> list[list[list[int]]]:
    """Return for each prompt, word by word, the prompts in which only that word is another."""
    words = [tuple(tokenize(prompt)) for prompt in prompts]
    alike: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for number, prompt in enumerate(words):
        for key in _gaps(prompt):
            alike[key].append(number)
    return [
        [
            [other for other in alike[key] if other != number]
            for key in _gaps(prompt)
            if len(alike[key]) > 1
        ]
        for number, prompt in enumerate(words)
    ]


def _gaps(words: tuple[str, ...]) -> list[tuple[object, ...]]:
    """Return the prompt with each of its words left open in turn."""
    return [(*words[:place], None, *words[place + 1 :]) for place in range(len(words))]
