"""Read texts as sets of meanings, using a table of English synonyms.

Texts that say the same in different words share a reading, such as "a tiny crimson star getting
bigger" and "a small red star expanding".
"""

import itertools
import re
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources

from t2vgan.tokenizer import split_words

MAX_READINGS = 64  # per text
MAX_COMBINATIONS = 4096  # of alternatives that are tried to find them
ENDING = re.compile(r"(?:ies|sses|ing|ed|es|s|ly|e)$")
NO_MEANING, FILLER = "-", "?"  # meanings in the table of words that say nothing

Stems = tuple[str, ...]


@lru_cache(maxsize=1 << 16)
def stem(token: str) -> str:
    """Strip English endings: "moves", "moved" and "moving" are "mov".

    This abbreviates Porter's steps 1 and 5 (An algorithm for suffix stripping, 1980).
    """
    while match := ENDING.search(token):
        rest = token[: match.start()]
        if len(rest) < 3 or not re.search("[aeiouy]", rest) or token.endswith("ss"):
            break
        if match[0] in ("ing", "ed") and rest[-1] == rest[-2] and rest[-1] not in "lsz":
            rest = rest[:-1]
        token = {"ies": f"{rest}y", "sses": f"{rest}ss"}.get(match[0], rest)
    return token


@dataclass(frozen=True)
class Phrase:
    """A part of a text and its meanings, the most usual first."""

    text: str
    meanings: tuple[Stems, ...]
    is_filler: bool = False
    """Whether nothing is lost if the meaning is unknown."""
    is_listed: bool = True
    """Whether the table lists the phrase."""
    like: str = ""
    """The known word whose meaning an unknown word is given."""

    @property
    def says_something(self) -> bool:
        """Whether the phrase has a meaning that could be lost."""
        return not self.is_filler and () not in self.meanings


@dataclass(frozen=True)
class Reading:
    """One interpretation of a text."""

    meanings: Stems
    """In the order of the text."""
    num_unusual: int
    """Number of phrases that are not read in their usual meaning."""


class Synonyms:
    """A table of phrases and their possible meanings."""

    def __init__(self, table: str) -> None:
        self.meanings: dict[Stems, list[Stems]] = {}
        self.filler: set[Stems] = set()
        self.words: list[str] = []
        self.in_captions: dict[Stems, tuple[str, ...]] = {}
        """Meaning -> phrases used in captions of rendered scenes."""
        for line in table.splitlines():
            meaning, _, phrases = line.partition(":")
            if line.strip() and not line.startswith("#"):
                self._add(meaning.strip(), phrases)
        self.longest: dict[str, int] = {}
        for key in self.meanings:
            first = stem(key[0].removeprefix("="))
            self.longest[first] = max(len(key), self.longest.get(first, 1))
        direct = {key: [*found] for key, found in self.meanings.items()}
        for key, found in self.meanings.items():  # "downwards" is "down", which may be "vertically"
            choices = [
                [(stem,), *(more for more in direct.get((stem,), []) if more != (stem,))]
                for stem in direct[key][0]
            ]
            further = (tuple(itertools.chain(*chosen)) for chosen in itertools.product(*choices))
            found += [more for more in dict.fromkeys(further) if more not in found]

    def _add(self, meaning: str, listed: str) -> None:
        """Add a line of the table; one-word meanings are also phrases."""
        says_nothing = meaning in (NO_MEANING, FILLER)
        stems = () if says_nothing else stem_text(meaning)
        before, bar, after = listed.partition("|")
        phrases = split_list(before) + split_list(after)
        if bar:
            self.in_captions[stems] = tuple(text.removeprefix("=") for text in split_list(before))
        self.words += [text for text in (meaning, *phrases) if text.isalpha()]
        own = [stems] if len(stems) == 1 else []
        for key in [*own, *map(make_key, phrases)]:
            if meaning == FILLER:
                self.filler.add(key)
                continue
            known = self.meanings.setdefault(key, [])
            if stems not in known:
                known.insert(0 if key == stems else len(known), stems)

    def split(self, text: str) -> list[Phrase]:
        """Split a text into its longest known phrases and single other words."""
        tokens = split_words(text)
        stems = [stem(token) for token in tokens]
        phrases, start = [], 0
        while start < len(stems):
            longest = self.longest.get(stems[start], 1)
            for end in range(min(len(stems), start + longest), start, -1):
                key = tuple(stems[start:end])
                exact = (f"={tokens[start]}", *key[1:])
                key = exact if exact in self.meanings else key
                if key in self.meanings or end == start + 1:
                    break
            phrases.append(
                Phrase(
                    " ".join(tokens[start:end]),
                    tuple(self.meanings.get(key, [key])),
                    is_filler=key in self.filler or len(tokens[start]) == 1,
                    is_listed=key in self.meanings,
                )
            )
            start = end
        return phrases


def read_phrases(phrases: list[Phrase]) -> list[Reading]:
    """List the ways to read phrases, the most usual first."""
    choices = [[*enumerate(phrase.meanings)] for phrase in phrases]
    best: dict[Stems, int] = {}
    for chosen in itertools.islice(itertools.product(*choices), MAX_COMBINATIONS):
        meanings = tuple(itertools.chain(*(stems for _, stems in chosen)))
        num_unusual = sum(place > 0 for place, _ in chosen)
        best[meanings] = min(num_unusual, best.get(meanings, num_unusual))
    readings = [Reading(meanings, number) for meanings, number in best.items()]
    return sorted(readings, key=lambda reading: reading.num_unusual)[:MAX_READINGS]


def split_list(text: str) -> list[str]:
    """Split a comma-separated list."""
    return [part.strip() for part in text.split(",") if part.strip()]


def make_key(phrase: str) -> Stems:
    """Return a phrase's key: its stems; after "=" the unstemmed first word."""
    if not phrase.startswith("="):
        return stem_text(phrase)
    first, *others = split_words(phrase)
    return (f"={first}", *map(stem, others))


def stem_text(text: str) -> Stems:
    """Return the stems of all words of a text."""
    return tuple(map(stem, split_words(text)))


@lru_cache(maxsize=1)
def load_synonyms() -> Synonyms:
    """Load the table that is part of the package."""
    return Synonyms(resources.files(__package__).joinpath("synonyms.txt").read_text("utf-8"))
