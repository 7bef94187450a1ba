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

MAX_TIED = 256  # equally near prompts, which are compared word by word
MAX_HINTS = 5  # unknown words whose spelling decides between them


class Nearest(NamedTuple):
    """The known prompt nearest to a given one."""

    prompt: str
    coverage: float
    """Weighted share of the given prompt's known meanings that it has."""
    meanings: Stems
    """The meanings by which the given prompt was read."""


class PromptIndex:
    """An index of prompts by meaning, each in its most usual reading."""

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

        Return None if no prompt says any of them. Among equally near prompts, the order and the
        words decide, then the position.
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
        """Meaning -> its kind, named by one meaning of that kind.

        Two meanings are of one kind if two prompts differ only in having one or the other, such as
        "up" and "down" in "circle moving up" and "circle moving down" (Harris, Distributional
        structure, 1954).
        """
        parents: dict[str, str] = {}

        def find(meaning: str) -> str:
            while (parent := parents.get(meaning, meaning)) != meaning:
                meaning = parent
            return meaning

        seen: dict[int, str] = {}  # sets as XORs of hashes, to save memory
        for meanings in set(map(frozenset, self.meanings)):
            total = functools.reduce(operator.xor, map(hash, meanings), 0)
            for meaning in meanings:
                first = seen.setdefault(total ^ hash(meaning), meaning)
                parents[find(meaning)] = find(first)
        return {meaning: find(meaning) for meaning in self.places}

    def names_otherwise(self, nearest: Nearest) -> bool:
        """Return whether the nearest prompt contradicts the given one.

        "circle moving up-left" does for "circle moving up", as it names another direction; "a small
        star" does not for "star", which names no size.
        """
        said = set(nearest.meanings)
        named = {self.kinds[meaning] for meaning in said & self.kinds.keys()}
        phrases = self.synonyms.split(nearest.prompt)
        others = set().union(*(phrase.meanings[0] for phrase in phrases)) - said
        return not named.isdisjoint(self.kinds[meaning] for meaning in others)

    def list_added(self, nearest: Nearest) -> list[str]:
        """List what the nearest prompt says but the given one does not."""
        said, phrases = set(nearest.meanings), self.synonyms.split(nearest.prompt)
        return [p.text for p in phrases if p.meanings[0] and said.isdisjoint(p.meanings[0])]

    def _find_rows(self, reading: Reading) -> tuple[tuple[float, int], list[int]]:
        """Return how near the nearest prompts are, and their rows."""
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
