"""Draw mismatched prompts, the negatives of prompt conditioning.

A negative is the prompt of another clip of the global batch, so that each prompt is a negative as
often as it is a positive: otherwise the discriminator could win by learning which prompts are
frequent, without looking at the video. In a rich data set most prompts differ from a clip's own in
every word; one word then suffices to discriminate, and the others get no gradient. Some negatives
(hard ones) therefore differ in a single word. They too occur as often as their prompts, because a
chain of such exchanges samples prompts by frequency (Hastings, Biometrika 1970).

If a prompt has several phrases, words are exchanged between two of them instead: a discriminator
that knows which words a clip shows, but not which belong together, cannot separate these prompts.
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

MAX_PROMPTS = 200_000  # beyond it the index would take gigabytes, and no negatives are hard

Words = tuple[str, ...]

Gap = tuple[str | None, ...]
"""A prompt's words with one of them replaced by None."""


def draw_partners(*, seed: int, step: int, num_clips: int, number: int = 1) -> np.ndarray:
    """Draw for each clip other clips of the batch.

    The clips of a global batch form one random cycle, and a clip's partners are the next `number`
    in it. A single clip is its own partner. Returns indices in the batch, (num_clips, number).
    """
    cycle = permutation(num_clips, seed, "mismatched partners", step)
    partners = np.empty((num_clips, number), cycle.dtype)
    partners[cycle] = np.stack([np.roll(cycle, -place) for place in range(1, number + 1)], axis=1)
    return partners


def keep_own_of_empty(token_ids: Tensor, mismatched_ids: Tensor, empty_id: int | None) -> Tensor:
    """Replace mismatched prompts by the clip's own if either is empty.

    An empty prompt matches every clip, so there is no mismatch and the loss ignores it. `token_ids`
    is (B, L), `mismatched_ids` (B, M, L); `empty_id` is None if no prompt is empty.
    """
    if empty_id is None:
        return mismatched_ids
    own_ids = token_ids.unsqueeze(1)
    is_empty = (own_ids[..., :1] == empty_id) | (mismatched_ids[..., :1] == empty_id)
    return torch.where(is_empty, own_ids, mismatched_ids)


@dataclass(frozen=True)
class Group:
    """Hold prompts that differ only in the word at one position."""

    ids: list[int]
    edges: list[float]
    """Cumulative frequencies of the prompts."""

    def span(self, number: int) -> tuple[float, float]:
        """Return a prompt's interval of the cumulative frequencies."""
        place = bisect_left(self.ids, number)
        return self.edges[place - 1] if place else 0.0, self.edges[place]

    def sum_others(self, number: int) -> float:
        """Return the total frequency of all prompts but one."""
        start, end = self.span(number)
        return self.edges[-1] - (end - start)

    def draw_other(self, own: int, share: float) -> int:
        """Draw a prompt other than `own`, by frequency.

        `share` is a uniform draw from 0 to 1."""
        start, end = self.span(own)
        point = share * self.sum_others(own)
        if point >= start:
            point += end - start
        return self.ids[min(bisect_right(self.edges, point), len(self.ids) - 1)]


class HardPrompts:
    """Draw prompts that differ by one word, or by exchanged words."""

    def __init__(
        self,
        frequencies: Mapping[str, float],
        share: float,
        tokenize: Callable[[str], list[str]] = tokenize,
        max_phrases: int = 1,
    ) -> None:
        """Index prompts; a `share` of the clips gets a hard one."""
        self.tokenize, self.max_phrases = tokenize, max_phrases
        self.share = share if len(frequencies) <= MAX_PROMPTS else 0.0
        self.prompts: list[str] = []  # the first of several spellings of the same words
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
        """The phrases of the data, if prompts may have several."""

    def draw(
        self, prompts: Sequence[str], positions: np.ndarray, *, seed: int, step: int, num_clips: int
    ) -> dict[int, str]:
        """Draw hard prompts for some of the rows of `prompts`, by row.

        The result is a clip's own prompt if it has no neighbour, or if the exchange was rejected to
        preserve frequencies. `positions` are the clips' indices in the global batch of `num_clips`.
        """
        draws = random_generator(seed, "hard prompts", step).random((num_clips, 4))[positions]
        return {
            row: self._exchange(prompts[row], *shares)
            for row, (is_hard, *shares) in enumerate(draws.tolist())
            if is_hard < self.share
        }

    def _exchange(self, prompt: str, place: float, neighbour: float, acceptance: float) -> str:
        """Exchange one word of a prompt, or return it unchanged."""
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
        # Probability of this exchange over that of its reverse, weighted by prompt frequencies.
        ratio = num_back * group.sum_others(other) / (len(groups) * group.sum_others(own))
        if say_the_same(prompt, self.prompts[other]):  # the reverse is rejected too
            return prompt
        return self.prompts[other] if acceptance * ratio < 1 else prompt

    def split(self, prompt: str) -> list[Words]:
        """Return the words of each phrase."""
        phrases = split_phrases(prompt, self.max_phrases)
        return [tuple(self.tokenize(phrase)) for phrase in phrases]

    def _exchange_phrases(
        self, prompt: str, phrases: list[Words], place: float, kind: float
    ) -> str:
        """Exchange words between two successive phrases, giving two others of the data."""
        one = int(place * len(phrases))
        other = (one + 1) % len(phrases)
        own = frozenset((phrases[one][1:], phrases[other][1:]))
        found: dict[frozenset[Words], tuple[Words, Words]] = {}  # no set of phrases twice
        for pair in list_exchanges(phrases[one], phrases[other]):
            if self.phrases.issuperset(pair):
                found.setdefault(frozenset(words[1:] for words in pair), pair)
        found.pop(own, None)  # exchanging all words only reorders the phrases
        if not found:
            return prompt
        phrases[one], phrases[other] = list(found.values())[int(kind * len(found))]
        return ", ".join(map(" ".join, phrases))

    def _groups_of(self, words: tuple[str, ...]) -> list[Group]:
        return [group for gap in _gaps(words) if (group := self.groups.get(gap))]

    def _index_groups(self) -> dict[Gap, Group]:
        """Return groups of prompts that differ in one word, by gap."""
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
    """Yield two phrases with words exchanged at the same positions.

    Exchanged spans begin at the second word or later, since the first is an article. A span that
    reaches the end of the shorter phrase extends to the end of both.
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
    """Return the gaps of a prompt, one for each word."""
    return [(*words[:place], None, *words[place + 1 :]) for place in range(len(words))]
