"""Index prompts by their meanings, and find the nearest."""

import difflib
import functools
import math
import operator
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from t2vgan.prompts.synonyms import Phrase, Reading, Stems, Synonyms, read_phrases, stem_text

MAX_TIED = 256  # prompts that are equally near, compared word by word
MAX_HINTS = 5  # unknown words whose spelling decides between these


class Nearest(NamedTuple):
    """The known prompt that is nearest to another."""

    prompt: str
    coverage: float
    """Share of the other's known meanings that it has, weighted."""
    meanings: Stems
    """What the other is understood to say."""


class PromptIndex:
    """Prompts by meaning, each read in its most usual way."""

    def __init__(self, prompts: Sequence[str], synonyms: Synonyms) -> None:
        self.synonyms = synonyms
        self.prompts = prompts
        self.meanings = [
            tuple(meaning for phrase in synonyms.split(prompt) for meaning in phrase.meanings[0])
            for prompt in prompts
        ]
        places: defaultdict[str, list[int]] = defaultdict(list)
        for row, meanings in enumerate(self.meanings):
            for meaning in set(meanings):
                places[meaning].append(row)
        self.places = {meaning: np.array(rows) for meaning, rows in places.items()}
        self.num_meanings = np.array([len(set(meanings)) for meanings in self.meanings])
        # Inverse document frequency (Spaerck Jones, 1972): rare meanings count more.
        self.weights = {
            meaning: math.log(1 + len(prompts) / len(rows)) for meaning, rows in places.items()
        }

    def knows(self, phrase: Phrase) -> bool:
        """Whether some prompt has a meaning of this phrase."""
        return any(stem in self.places for stems in phrase.meanings for stem in stems)

    def find_nearest(self, phrases: Sequence[Phrase]) -> Nearest | None:
        """Find the prompt that says most of these phrases, and little else.

        None where no prompt says any of them. Of equally near prompts the one in the same order
        and words is returned, then the first.
        """
        best = 0.0, 0
        tied: list[tuple[Reading, int]] = []
        for reading in read_phrases([phrase for phrase in phrases if self.knows(phrase)]):
            key, rows = self._find_rows(reading)
            if rows and key > best:
                best, tied = key, []
            if rows and key >= best:
                tied += [(reading, row) for row in rows]
        if not tied:
            return None
        literal = {token for phrase in phrases for token in stem_text(phrase.text)}
        unknown = [p.text[:40] for p in phrases if p.says_something and not self.knows(p)]
        unknown = unknown[:MAX_HINTS]

        @functools.cache
        def hint(added: str) -> float:
            likenesses = (difflib.SequenceMatcher(None, added, text).ratio() for text in unknown)
            return max(likenesses, default=0.0)

        def likeness(pair: tuple[Reading, int]) -> tuple[float, float, float]:
            reading, row = pair
            order = difflib.SequenceMatcher(None, reading.meanings, self.meanings[row], False)
            words = set(stem_text(self.prompts[row]))
            spelt = max(map(hint, words - literal), default=0.0)
            return order.ratio(), spelt, len(words & literal) / len(words | literal)

        reading, row = max(tied[:MAX_TIED], key=likeness)
        return Nearest(self.prompts[row], best[0], reading.meanings)

    @functools.cached_property
    def kinds(self) -> dict[str, str]:
        """Meaning -> its kind, named by one of them.

        Two meanings are of one kind if a prompt has one where another prompt, else alike, has the
        other: "up" and "down" by "circle moving up" and "circle moving down" (Harris,
        Distributional structure, 1954).
        """
        parents: dict[str, str] = {}

        def find(meaning: str) -> str:
            while (parent := parents.get(meaning, meaning)) != meaning:
                meaning = parent
            return meaning

        seen: dict[int, str] = {}  # sets as the exclusive or of hashes: they take little memory
        for meanings in set(map(frozenset, self.meanings)):
            total = functools.reduce(operator.xor, map(hash, meanings), 0)
            for meaning in meanings:
                first = seen.setdefault(total ^ hash(meaning), meaning)
                parents[find(meaning)] = find(first)
        return {meaning: find(meaning) for meaning in self.places}

    def names_otherwise(self, nearest: Nearest) -> bool:
        """Return whether the nearest prompt changes what the other names.

        "circle moving up-left" does so for "circle moving up", of which it names another direction;
        "a small star" does not for "star", which names no size.
        """
        said = set(nearest.meanings)
        named = {self.kinds[meaning] for meaning in said & self.kinds.keys()}
        phrases = self.synonyms.split(nearest.prompt)
        others = set().union(*(phrase.meanings[0] for phrase in phrases)) - said
        return not named.isdisjoint(self.kinds[meaning] for meaning in others)

    def list_added(self, nearest: Nearest) -> list[str]:
        """List what the nearest prompt says and the other does not."""
        said, phrases = set(nearest.meanings), self.synonyms.split(nearest.prompt)
        return [p.text for p in phrases if p.meanings[0] and said.isdisjoint(p.meanings[0])]

    def _find_rows(self, reading: Reading) -> tuple[tuple[float, int], list[int]]:
        """Return how near the nearest prompts are, and which."""
        meanings = set(reading.meanings)
        shared = np.zeros(len(self.prompts))
        total = 0.0
        for meaning in meanings:
            weight = self.weights.get(meaning, math.log(1 + len(self.prompts)))
            total += weight
            if meaning in self.places:
                shared[self.places[meaning]] += weight
        if not shared.any():
            return (0.0, 0), []
        rows = np.flatnonzero(shared > shared.max() - 1e-9)
        fewest = self.num_meanings[rows].min()
        rows = rows[self.num_meanings[rows] == fewest]
        cost = int(fewest) - len(meanings) + reading.num_unusual
        return (round(float(shared.max() / total), 9), -cost), rows.tolist()
