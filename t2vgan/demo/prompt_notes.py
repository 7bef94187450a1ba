"""Explain what the page generates for a visitor's prompt."""

from dataclasses import dataclass

from t2vgan.checkpoint.weights import WeightsInfo
from t2vgan.evaluation.prompt_accuracy.prompts import scored_attributes
from t2vgan.prompts.matching import PromptMatch, warn_of_length


@dataclass(frozen=True)
class Note:
    """One line about a prompt."""

    text: str
    is_warning: bool = False


@dataclass(frozen=True)
class KnownPrompts:
    """The held-out prompts, and the attributes that the meter reads."""

    held_out: frozenset[str]
    scored: tuple[str, ...]
    """Attributes that differ between prompts and that the meter reads."""

    @classmethod
    def from_info(cls, info: WeightsInfo) -> "KnownPrompts":
        """Index the prompts that weights know."""
        scored = scored_attributes([*info.prompts, *info.held_out_prompts])
        return cls(frozenset(info.held_out_prompts), tuple(scored))

    def describe(self, match: PromptMatch) -> list[Note]:
        """List notes on how a prompt is read, and what is generated."""
        notes = []
        if note := warn_of_length(match.prompt):
            notes.append(Note(as_sentence(note), is_warning=True))
        if match.note:
            return [*notes, Note(as_sentence(match.note), is_warning=True)]
        if match.read_as in self.held_out:
            text = "A held-out prompt: known words, but training never showed them together."
            return [*notes, Note(text)]
        return [*notes, Note("A training prompt.")]


def as_sentence(note: str) -> str:
    """Return a note as a full sentence."""
    return f"{note[0].upper()}{note[1:]}."
