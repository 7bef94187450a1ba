"""Compare a visitor's prompt with those that the model was trained on."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from t2vgan.checkpoint.weights import WeightsInfo
from t2vgan.evaluation.prompt_accuracy.prompts import scored_attributes
from t2vgan.tokenizer import MAX_TOKENS, UNKNOWN, Vocabulary, split_words

MAX_NAMED = 5  # unknown words

Tokens = tuple[str, ...]


@dataclass(frozen=True)
class Note:
    """One line about a prompt."""

    text: str
    is_warning: bool = False


@dataclass(frozen=True)
class KnownPrompts:
    """The prompts of training and those held out, by their words."""

    vocabulary: Vocabulary
    training: dict[Tokens, str]
    held_out: dict[Tokens, str]
    scored: tuple[str, ...]
    """Attributes in which they differ, which the meter reads."""

    @classmethod
    def from_info(cls, info: WeightsInfo) -> "KnownPrompts":
        """Index the prompts that weights know."""
        vocabulary = Vocabulary(info.words, info.tokenizer)

        def index(prompts: Sequence[str]) -> dict[Tokens, str]:
            return {tuple(vocabulary.tokenize(prompt)): prompt for prompt in prompts}

        scored = scored_attributes([*info.prompts, *info.held_out_prompts])
        return cls(vocabulary, index(info.prompts), index(info.held_out_prompts), tuple(scored))

    def describe(self, prompt: str) -> list[Note]:
        """List notes: unknown words, words not read, likeness to training."""
        tokens = self.vocabulary.tokenize(prompt)
        unknown = [token for token in dict.fromkeys(tokens) if token not in self.vocabulary.ids]
        notes = []
        if unknown:
            use = "read as rare words" if UNKNOWN in self.vocabulary.ids else "passed over"
            named = ", ".join(map(self._name_unknown, unknown[:MAX_NAMED]))
            more = f" and {len(unknown) - MAX_NAMED} more" if len(unknown) > MAX_NAMED else ""
            notes.append(Note(f"Unknown words, {use}: {named}{more}.", is_warning=True))
        if len(split_words(prompt, self.vocabulary.tokenizer)) > MAX_TOKENS:
            notes.append(Note(f"Only the first {MAX_TOKENS} words are read.", is_warning=True))
        return [*notes, self._describe_likeness(tuple(tokens))]

    def _name_unknown(self, token: str) -> str:
        nearest = difflib.get_close_matches(token, self.vocabulary.words, n=1, cutoff=0.5)
        return f"“{token}”" + (f" (nearest: “{nearest[0]}”)" if nearest else "")

    def _describe_likeness(self, tokens: Tokens) -> Note:
        """Compare with the prompts of training, and name the nearest."""
        if tokens in self.training:
            return Note("A prompt of training.")
        if tokens in self.held_out:
            return Note("Held out: known words, but training never saw them together.")
        nearest = max(self.training, key=lambda known: overlap(known, tokens), default=())
        hint = f" The nearest is “{self.training[nearest]}”." if nearest else ""
        return Note(
            f"Not among the {len(self.training):,} prompts of training: expect less.{hint}",
            is_warning=True,
        )


def overlap(some: Tokens, others: Tokens) -> float:
    """Return the share of words that two prompts have in common."""
    first, second = set(some), set(others)
    return len(first & second) / max(1, len(first | second))
