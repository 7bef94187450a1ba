"""Prompts as numbers: a word list that is saved with the weights."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from t2vgan.errors import UserError

PADDING_ID = 0
MAX_TOKENS = 64


def tokenize(prompt: str) -> list[str]:
    """Split a prompt into lower-case words; hyphens separate, so that "up-right" shares "up"."""
    return re.findall(r"\w+", prompt.lower())


@dataclass(frozen=True)
class Vocabulary:
    """The words a model knows, in a fixed order; word i has token id i + 1, 0 is padding."""

    words: tuple[str, ...]

    @classmethod
    def from_prompts(cls, prompts: Iterable[str]) -> "Vocabulary":
        """Collect the words of some prompts, sorted, so that equal data gives equal ids."""
        return cls(tuple(sorted({word for prompt in prompts for word in tokenize(prompt)})))

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
            UserError: a prompt is empty or too long, or has words that the model never saw and
                `allow_unknown` is false (which words, and the nearest known ones).
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
        if len(words) > MAX_TOKENS:
            raise UserError(f"prompt has {len(words)} words; at most {MAX_TOKENS} are read")
        unknown = [word for word in words if word not in self.ids]
        if unknown and not allow_unknown:
            raise UserError(
                f"prompt {prompt!r} has unknown words: "
                + ", ".join(self._with_nearest(word) for word in unknown)
                + " (--allow-unknown ignores them)"
            )
        known = [self.ids[word] for word in words if word in self.ids]
        if not known:
            raise UserError(f"prompt {prompt!r} has no word that the model knows")
        return known

    def _with_nearest(self, word: str) -> str:
        nearest = difflib.get_close_matches(word, self.words, n=3, cutoff=0.5)
        hint = f"nearest known: {', '.join(nearest)}" if nearest else f"known: {self._example(12)}"
        return f"{word!r} ({hint})"

    def _example(self, num_words: int = 3) -> str:
        return " ".join(self.words[:num_words])
