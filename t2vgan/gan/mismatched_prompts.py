"""Draw mismatched prompts, the negatives of prompt conditioning.

A negative is the prompt of another clip of the global batch, so that each prompt is a negative as
often as it is shown with its own clip: otherwise the discriminator wins by knowing which prompts
are frequent, and never looks at the video. Most prompts of a rich data set differ from a clip's in
everything; one word then suffices to discriminate, and the others get no gradient: so some
negatives differ in a single word. They too come as often as their prompts: a chain of such
exchanges visits each prompt by its frequency (Hastings, Biometrika 1970).

Where a prompt has several phrases, words are exchanged between two of them instead: a discriminator
that sees which words a clip shows, and not which belong together, cannot separate these prompts.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor

from t2vgan.prompts.paraphrases import say_the_same
from t2vgan.tokenizer import split_phrases, tokenize
from t2vgan.utils.seeds import permutation, random_generator

MAX_PROMPTS = 200_000  # of more, the index would fill gigabytes; none differ in one word

Words = tuple[str, ...]

Gap = tuple[str | None, ...]
"""A prompt's words with one of them left open."""


def draw_partners(*, seed: int, step: int, num_clips: int, number: int = 1) -> np.ndarray:
    """Return other clips of the batch for each clip.

    All clips of a global batch form one random cycle, and each takes the prompts of the next
    `number`. A single clip is its own partner. Returns places in the batch, (num_clips, number).
    """
    cycle = permutation(num_clips, seed, "mismatched partners", step)
    partners = np.empty((num_clips, number), cycle.dtype)
    partners[cycle] = np.stack([np.roll(cycle, -place) for place in range(1, number + 1)], axis=1)
    return partners


def keep_own_of_empty(token_ids: Tensor, mismatched_ids: Tensor, empty_id: int | None) -> Tensor:
    """Replace mismatched prompts by the clip's own beside empty ones.

    An empty prompt matches every clip: nothing is mismatched, and the loss is off. `token_ids` is
    (B, L), `mismatched_ids` (B, M, L); `empty_id` is None where no prompt is empty.
    """
    if empty_id is None:
        return mismatched_ids
    own_ids = token_ids.unsqueeze(1)
    is_empty = (own_ids[..., :1] == empty_id) | (mismatched_ids[..., :1] == empty_id)
    return torch.where(is_empty, own_ids, mismatched_ids)


@dataclass(frozen=True)
class Group:
    """Hold the prompts that differ in one word, at one place."""

    ids: list[int]
    edges: list[float]
    """The prompts' frequencies, added up."""

    def span(self, number: int) -> tuple[float, float]:
        """Return where a prompt begins and ends among the added frequencies."""
        place = bisect_left(self.ids, number)
        return self.edges[place - 1] if place else 0.0, self.edges[place]

    def sum_others(self, number: int) -> float:
        """Return the frequency of all prompts but one."""
        start, end = self.span(number)
        return self.edges[-1] - (end - start)

    def draw_other(self, own: int, share: float) -> int:
        """Return a prompt other than `own` by frequency.

        `share` is a uniform draw from 0 to 1."""
        start, end = self.span(own)
        point = share * self.sum_others(own)
        if point >= start:
            point += end - start
        return self.ids[min(bisect_right(self.edges, point), len(self.ids) - 1)]


class HardPrompts:
    """Draw prompts that are one word, or an exchange of words, away."""

    def __init__(
        self,
        frequencies: Mapping[str, float],
        share: float,
        tokenize: Callable[[str], list[str]] = tokenize,
        max_phrases: int = 1,
    ) -> None:
        """Index prompts; `share` of the clips get such a prompt."""
        self.tokenize, self.max_phrases = tokenize, max_phrases
        self.share = share if len(frequencies) <= MAX_PROMPTS else 0.0
        self.prompts: list[str] = []  # of several spellings the first stands for all
        self.frequencies: list[float] = []
        self.ids: dict[tuple[str, ...], int] = {}
        for prompt, frequency in frequencies.items() if self.share else ():
            number = self.ids.setdefault(tuple(self.tokenize(prompt)), len(self.prompts))
            if number == len(self.prompts):
                self.prompts.append(prompt)
                self.frequencies.append(0.0)
            self.frequencies[number] += frequency
        self.groups = self._index_groups()
        self.phrases = {
            phrase for prompt in self.prompts if max_phrases > 1 for phrase in self.split(prompt)
        }
        """The data's phrases, where prompts have several."""

    def draw(
        self, prompts: Sequence[str], positions: np.ndarray, *, seed: int, step: int, num_clips: int
    ) -> dict[int, str]:
        """Return hard prompts by row of `prompts`, for some of them.

        A clip's own prompt stands for none: it has no neighbour, or the exchange was rejected to
        keep the frequencies. `positions` are the clips' places in the global batch of `num_clips`.
        """
        if not self.share:
            return {}
        draws = random_generator(seed, "hard prompts", step).random((num_clips, 4))[positions]
        return {
            row: self._exchange(prompts[row], *shares)
            for row, (is_hard, *shares) in enumerate(draws.tolist())
            if is_hard < self.share
        }

    def _exchange(self, prompt: str, place: float, neighbour: float, acceptance: float) -> str:
        """Exchange one word of a prompt, or return it as it is."""
        phrases = self.split(prompt)
        if len(phrases) > 1:
            return self._exchange_phrases(prompt, phrases, place, neighbour)
        words = tuple(self.tokenize(prompt))
        own = self.ids.get(words)
        if own is None or not (groups := self._groups_of(words)):
            return prompt
        group = groups[int(place * len(groups))]
        other = group.draw_other(own, neighbour)
        num_back = len(self._groups_of(tuple(self.tokenize(self.prompts[other]))))
        # The probability of this exchange over that of its reverse, at both prompts' frequencies.
        ratio = num_back * group.sum_others(other) / (len(groups) * group.sum_others(own))
        if say_the_same(prompt, self.prompts[other]):  # its reverse is rejected as well
            return prompt
        return self.prompts[other] if acceptance * ratio < 1 else prompt

    def split(self, prompt: str) -> list[Words]:
        """Return the words of each phrase."""
        phrases = split_phrases(prompt, self.max_phrases)
        return [tuple(self.tokenize(phrase)) for phrase in phrases]

    def _exchange_phrases(
        self, prompt: str, phrases: list[Words], place: float, kind: float
    ) -> str:
        """Exchange words between two successive phrases; both are then known, and others."""
        one = int(place * len(phrases))
        other = (one + 1) % len(phrases)
        own = frozenset((phrases[one][1:], phrases[other][1:]))
        found: dict[frozenset[Words], tuple[Words, Words]] = {}  # each set of phrases once
        for pair in list_exchanges(phrases[one], phrases[other]):
            if self.phrases.issuperset(pair):
                found.setdefault(frozenset(words[1:] for words in pair), pair)
        found.pop(own, None)  # all words exchanged are the same phrases in another order
        if not found:
            return prompt
        phrases[one], phrases[other] = list(found.values())[int(kind * len(found))]
        return ", ".join(map(" ".join, phrases))

    def _groups_of(self, words: tuple[str, ...]) -> list[Group]:
        return [group for gap in _gaps(words) if (group := self.groups.get(gap))]

    def _index_groups(self) -> dict[Gap, Group]:
        """Return the prompts that differ in one word, by their gap."""
        members: dict[Gap, list[int]] = defaultdict(list)
        for words, number in self.ids.items():
            for gap in _gaps(words):
                members[gap].append(number)
        return {
            gap: Group(ids, list(accumulate(self.frequencies[number] for number in ids)))
            for gap, ids in members.items()
            if len(ids) > 1
        }


def list_exchanges(first: Words, second: Words) -> Iterator[tuple[Words, Words]]:
    """Yield two phrases with words exchanged at the same places.

    From the second place on, since the first is an article, and up to any that both have; the last
    of these stands for all words that follow.
    """
    last = min(len(first), len(second))
    for begin in range(1, last):
        for stop in range(begin + 1, last + 1):
            here, there = (len(first), len(second)) if stop == last else (stop, stop)
            yield (
                (*first[:begin], *second[begin:there], *first[here:]),
                (*second[:begin], *first[begin:here], *second[there:]),
            )


def _gaps(words: tuple[str, ...]) -> list[Gap]:
    """Return a prompt's words with each of them left open in turn."""
    return [(*words[:place], None, *words[place + 1 :]) for place in range(len(words))]
