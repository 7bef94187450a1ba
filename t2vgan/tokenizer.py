"""Tokenize prompts by a word list that is saved with the weights."""

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from t2vgan.errors import UserError

PADDING_ID = 0
MAX_TOKENS = 64
UNKNOWN = "<unknown>"  # the token of every rare word; no prompt contains it
EMPTY = "<empty>"  # the token of the empty prompt, of clips without caption
VERSION = 2
"""Of the rules that make words of prompts, saved with every vocabulary. Version 1 left out the
combining marks with which Indic vowels, Thai tones and vocalised Arabic are written."""
MAX_SHOWN = 70  # characters of a prompt in a message
JOINERS = "\u200c\u200d"  # zero width; inside words of Persian, Sinhala and others


def tokenize(prompt: str, version: int = VERSION) -> list[str]:
    """Return a prompt's first MAX_TOKENS words in lower case.

    Hyphens separate, so that "up-right" shares "up".
    """
    return split_words(prompt, version)[:MAX_TOKENS]


def split_words(prompt: str, version: int = VERSION) -> list[str]:
    """Return all words in lower case, composed (NFC)."""
    prompt = prompt.lower()
    if version == 1 or prompt.isascii():
        return re.findall(r"\w+", prompt)
    return [match[0].rstrip(JOINERS) for match in find_words(unicodedata.normalize("NFC", prompt))]


def find_words(text: str) -> Iterator[re.Match[str]]:
    """Yield the words of a text with their combining marks and joiners."""
    marks = {c for c in text if unicodedata.category(c)[0] == "M" or c in JOINERS}
    return re.finditer(rf"\w[\w{re.escape(''.join(sorted(marks)))}]*", text)


def build_pattern(version: int) -> str:
    """Build one regular expression of all words, for texts in lower case.

    From version 2 on the texts are composed (NFC) first.
    """
    if version == 1:
        return r"\w+"
    codes = (
        code for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "M"
    )
    spans: list[list[int]] = []
    for code in codes:
        if spans and code == spans[-1][1] + 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    marks = "".join(chr(first) + (f"-{chr(last)}" if last > first else "") for first, last in spans)
    return rf"\w(?:[\w{marks}{JOINERS}]*[\w{marks}])?"


def shorten_prompt(prompt: str) -> str:
    """Return a prompt's beginning, for a message."""
    return prompt if len(prompt) <= MAX_SHOWN else f"{prompt[:MAX_SHOWN]}..."


PHRASE_START = re.compile(
    r"(?: ?[,;.] ?(?:(?:and|while) )?| (?:and|while) )(?=(?:an?|the|one|another) )", re.IGNORECASE
)
"""What separates two phrases of a prompt: a comma, "and" or the like, before an article.

For texts with single spaces only: with `\\s*`, a long run of spaces would take quadratic time.
"""


def split_phrases(prompt: str, max_phrases: int) -> list[str]:
    """Split a prompt into phrases, each of which names one object.

    A phrase begins at an article after a comma, a semicolon, a full stop, "and" or "while": "a red
    circle and a blue square moving up" has two, "the square is small, blue and moving up" one. The
    last of `max_phrases` keeps whatever follows. Of several phrases, each has single spaces.
    """
    if max_phrases == 1:
        return [prompt]
    return PHRASE_START.split(" ".join(prompt.split()), maxsplit=max_phrases - 1)


def is_cut(prompt: str, version: int) -> bool:
    """Return whether a prompt has more words than are read."""
    return len(prompt) > 2 * MAX_TOKENS and len(split_words(prompt, version)) > MAX_TOKENS


def has_words(prompt: str) -> bool:
    return re.search(r"\w", prompt) is not None


@dataclass(frozen=True)
class Vocabulary:
    """A model's words in a fixed order.

    Word i has token id i + 1; id 0 is padding. Where rare words were left out, UNKNOWN is among the
    words and was trained in their place; where clips were shown without a caption, EMPTY is.
    """

    words: tuple[str, ...]
    tokenizer: int = VERSION
    max_phrases: int = 1
    """Of a prompt; of more than one, PADDING_ID stands between two phrases."""

    @classmethod
    def from_prompts(
        cls,
        prompts: Mapping[str, int] | Iterable[str],
        max_words: int | None = None,
        tokenizer: int = VERSION,
        max_phrases: int = 1,
    ) -> "Vocabulary":
        """Collect the sorted words of prompts, weighted by their counts.

        Equal data gives equal ids. Of more than `max_words` the most frequent are kept, and UNKNOWN
        replaces the rest. An empty prompt adds EMPTY, which counts for none of them.
        """
        counts: Counter[str] = Counter()
        known = Counter(prompts)
        for prompt, count in known.items():
            counts.update(dict.fromkeys(tokenize(prompt, tokenizer), count))
        empty = [EMPTY] if "" in known else []
        if max_words is None or len(counts) <= max_words:
            return cls((*sorted(counts), *empty), tokenizer, max_phrases)
        frequent = sorted(counts, key=lambda token: (-counts[token], token))[: max_words - 1]
        return cls((*sorted(frequent), *empty, UNKNOWN), tokenizer, max_phrases)

    def __len__(self) -> int:
        return len(self.words) + 1

    @cached_property
    def ids(self) -> dict[str, int]:
        return {token: index for index, token in enumerate(self.words, start=1)}

    def is_empty(self, prompt: str) -> bool:
        """Return whether a prompt is the empty one, and known."""
        return not prompt.strip() and EMPTY in self.ids

    def tokenize(self, prompt: str) -> list[str]:
        """Tokenize a prompt by the rules of these words."""
        return tokenize(prompt, self.tokenizer)

    def knows_any_of(self, prompt: str) -> bool:
        """Return whether any word of a prompt is known."""
        return any(token in self.ids for token in self.tokenize(prompt))

    def count_tokens(self, prompts: Iterable[str]) -> int:
        """Return the most tokens that `encode` makes of a prompt."""
        most = max(1, *(len(self.tokenize(prompt)) for prompt in prompts))
        return min(most + self.max_phrases - 1, MAX_TOKENS)

    def encode(
        self, prompts: Sequence[str], *, allow_unknown: bool = False, length: int = 0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Encode prompts: `token_ids` (B, L) int64, `token_mask` (B, L) bool.

        The mask is false where there is padding: at the end, and between two phrases. L is the
        longest prompt's number of tokens, or `length` if that is larger. The empty prompt
        is EMPTY, where the vocabulary has it.

        Raises:
            UserError: a prompt is empty, or has words that are not in the vocabulary and
                `allow_unknown` is false. With `allow_unknown` they become UNKNOWN, or are dropped
                by a vocabulary without it.
        """
        rows = [self._encode_one(prompt, allow_unknown) for prompt in prompts]
        token_ids = np.full((len(rows), max(length, *map(len, rows))), PADDING_ID, dtype=np.int64)
        for row, ids in zip(token_ids, rows, strict=True):
            row[: len(ids)] = ids
        return token_ids, token_ids != PADDING_ID

    def _encode_one(self, prompt: str, allow_unknown: bool) -> list[int]:
        if self.is_empty(prompt):
            return [self.ids[EMPTY]]
        words = self.tokenize(prompt)
        if not words:
            raise UserError(
                f"prompt {shorten_prompt(prompt)!r} has no words; "
                f"give one such as {' '.join(self.words[:3])!r}"
            )
        unknown = [token for token in words if token not in self.ids]
        if unknown and not allow_unknown:
            listed = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
            use = "reads them as rare words" if UNKNOWN in self.ids else "ignores them"
            raise UserError(
                f"prompt {shorten_prompt(prompt)!r} has unknown words: {listed} "
                f"(--allow-unknown {use})"
            )
        row: list[int] = []
        for phrase in split_phrases(prompt, self.max_phrases):
            ids = (self.ids.get(token, self.ids.get(UNKNOWN)) for token in self.tokenize(phrase))
            if known := [number for number in ids if number is not None]:
                row += [PADDING_ID, *known] if row else known
        if not row:
            raise UserError(f"prompt {shorten_prompt(prompt)!r} has no word that the model knows")
        return row[:MAX_TOKENS]
