"""Prompts as numbers: a word list that is saved with the weights."""

import difflib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from t2vgan.errors import UserError

PADDING_ID = 0
MAX_TOKENS = 64
UNKNOWN = "<unknown>"  # stands for every word that is too rare to be told apart; no prompt has it


def tokenize(prompt: str) -> list[str]:
    """Return a prompt's first MAX_TOKENS words in lower case; the others are read by nobody.

    Hyphens separate, so that "up-right" shares "up".
    """
    return words_of(prompt)[:MAX_TOKENS]


def words_of(prompt: str) -> list[str]:
    return re.findall(r"\w+", prompt.lower())


def has_words(prompt: str) -> bool:
    return re.search(r"\w", prompt) is not None


@dataclass(frozen=True)
class Vocabulary:
    """The words a model knows, in a fixed order; word i has token id i + 1, 0 is padding.

    Where rare words were left out, UNKNOWN is among them and was trained in their place.
    """

    words: tuple[str, ...]

    @classmethod
    def from_prompts(
        cls, prompts: Mapping[str, int] | Iterable[str], max_words: int | None = None
    ) -> "Vocabulary":
        """Collect the words of some prompts (and how often each occurs), sorted.

        Equal data gives equal ids. Of more than `max_words` the most frequent stay, and UNKNOWN
        takes the place of the rest.
        """
        counts: Counter[str] = Counter()
        for prompt, count in Counter(prompts).items():
            counts.update(dict.fromkeys(tokenize(prompt), count))
        if max_words is None or len(counts) <= max_words:
            return cls(tuple(sorted(counts)))
        frequent = sorted(counts, key=lambda word: (-counts[word], word))[: max_words - 1]
        return cls((*sorted(frequent), UNKNOWN))

    def __len__(self) -> int:
        return len(self.words) + 1

    @cached_property
    def ids(self) -> dict[str, int]:
        return {word: index for index, word in enumerate(self.words, start=1)}

    def encode(
        self, prompts: Sequence[str], *, allow_unknown: bool = False, length: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Turn prompts into `token_ids` (B, L) int64 and `token_mask` (B, L) bool.

        L is the longest prompt's number of words, or `length` if that is larger.

        Raises:
            UserError: a prompt is empty, or has words that the model never saw and `allow_unknown`
                is false (which words, and the nearest known ones). Else they are read as UNKNOWN,
                or passed over by a vocabulary without it.
        """
        rows = [self._encode_one(prompt, allow_unknown) for prompt in prompts]
        token_ids = np.full((len(rows), max(length, *map(len, rows))), PADDING_ID, dtype=np.int64)
        for row, ids in zip(token_ids, rows, strict=True):
            row[: len(ids)] = ids
        return token_ids, token_ids != PADDING_ID

    def _encode_one(self, prompt: str, allow_unknown: bool) -> list[int]:
        words = tokenize(prompt)
        if not words:
            raise UserError(f"prompt {prompt!r} has no words; give one such as {self._example()!r}")
        unknown = [word for word in words if word not in self.ids]
        if unknown and not allow_unknown:
            raise UserError(
                f"prompt {prompt!r} has unknown words: "
                + ", ".join(self._with_nearest(word) for word in unknown)
                + " (--allow-unknown"
                + (" reads them as rare words)" if UNKNOWN in self.ids else " ignores them)")
            )
        ids = (self.ids.get(word, self.ids.get(UNKNOWN)) for word in words)
        known = [number for number in ids if number is not None]
        if not known:
            raise UserError(f"prompt {prompt!r} has no word that the model knows")
        return known

    def _with_nearest(self, word: str) -> str:
        nearest = difflib.get_close_matches(word, self.words, n=3, cutoff=0.5)
        hint = f"nearest known: {', '.join(nearest)}" if nearest else f"known: {self._example(12)}"
        return f"{word!r} ({hint})"

    def _example(self, num_words: int = 3) -> str:
        return " ".join(self.words[:num_words])
