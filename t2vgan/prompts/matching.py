"""Match prompts that people type with prompts that a model knows.

Both are read as sets of meanings. The nearest known prompt is the one that shares the most meanings
with the given prompt, weighted by their rarity.
"""

import difflib
import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from t2vgan.errors import UserError
from t2vgan.prompts.index import PromptIndex
from t2vgan.prompts.synonyms import Phrase, load_synonyms
from t2vgan.tokenizer import MAX_TOKENS, Vocabulary, shorten_prompt, split_phrases, split_words
from t2vgan.utils.sequences import choose_evenly

ARTICLES = frozenset({"a", "an", "the"})
MAX_COMPARED = 20_000  # known prompts to compare with
MAX_NAMED = 5  # words in a message
NUM_SUGGESTED = 3
MIN_MENDED = 4  # letters that an unknown word must have to be read as another
MIN_COSINE = 0.6  # similarity of words with nearly the same meaning (benchmarks/paraphrases.py)
MIN_COVERAGE = 0.75  # share of a prompt's meaning that its replacement must have
MAX_MISSPELT, MAX_LETTERS = 3, 32  # misspelt words per prompt, and letters of each
MAX_SPELLINGS = 64  # combinations of corrections that are looked up
SPELLING_CUTOFF = 0.82  # similarity ratio of difflib


Embed = Callable[[Sequence[str]], np.ndarray]


@dataclass(frozen=True)
class PromptMatch:
    """What a model generates for a prompt."""

    prompt: str
    read_as: str
    """The prompt that is used: a known one, or the prompt itself."""
    note: str = ""
    """One line on what differs; empty if the prompt is known."""


class PromptMatcher:
    """Find what a model that knows certain prompts generates for any prompt."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        prompts: Sequence[str],
        held_out_prompts: Sequence[str] = (),
        embed: Embed | None = None,
    ) -> None:
        """Store prompts; `embed` maps N texts to unit vectors (N, H)."""
        self.vocabulary = vocabulary
        self.embed = embed
        self.prompts = tuple(prompts)
        self.held_out = frozenset(held_out_prompts)
        self.known = (*prompts, *held_out_prompts)

    @cached_property
    def exact(self) -> frozenset[str]:
        """All known prompts."""
        return frozenset(self.known)

    @cached_property
    def by_tokens(self) -> dict[tuple[str, ...], str]:
        """Known prompts by their words, with and without articles."""
        found: dict[tuple[str, ...], str] = {}
        for prompt in reversed(self.known):
            tokens = self.vocabulary.tokenize(prompt)
            found[without_articles(tokens)] = prompt
        for prompt in reversed(self.known):
            found[tuple(self.vocabulary.tokenize(prompt))] = prompt
        return found

    @cached_property
    def of_phrases(self) -> "PromptMatcher | None":
        """The matcher of single phrases, if prompts have several.

        It knows each phrase, in whatever combination.
        """
        if (most := self.vocabulary.max_phrases) == 1:
            return None
        training, held_out = (
            dict.fromkeys(phrase for prompt in prompts for phrase in split_phrases(prompt, most))
            for prompts in (self.prompts, self.held_out)
        )
        vocabulary = replace(self.vocabulary, max_phrases=1)
        new = [phrase for phrase in held_out if phrase not in training]
        return PromptMatcher(vocabulary, tuple(training), new, self.embed)

    @cached_property
    def letters(self) -> frozenset[str]:
        """The letters of the model's words."""
        return frozenset("".join(self.vocabulary.words))

    @cached_property
    def index(self) -> PromptIndex:
        """The known prompts by meaning, at most MAX_COMPARED of them."""
        return PromptIndex(choose_evenly(self.known, MAX_COMPARED), load_synonyms())

    @cached_property
    def readable_words(self) -> list[str]:
        """Words of known meaning, with which unknown words are compared."""
        words = dict.fromkeys([*self.vocabulary.words, *self.index.synonyms.words])
        parts = ((text, self.split(text)) for text in words)
        return [
            text
            for text, phrases in parts
            if len(phrases) == 1 and phrases[0].says_something and self.index.knows(phrases[0])
        ]

    @cached_property
    def embeddings(self) -> np.ndarray:
        """The unit vectors of the readable words, (N, H)."""
        assert self.embed is not None
        return self.embed(self.readable_words)

    def match(self, prompt: str, *, strict: bool = False) -> PromptMatch:
        """Find what is generated for a prompt.

        Raises:
            UserError: the prompt has no words, or none that the model knows in any way; or, with
                `strict`, it is not a known prompt. The message suggests prompts.
        """
        found = self._match(prompt)
        if strict and found.note:
            raise UserError(f"{found.note} (strict: only known prompts are drawn)")
        return found

    def _match(self, prompt: str) -> PromptMatch:
        if prompt in self.exact or self.vocabulary.is_empty(prompt):
            return PromptMatch(prompt, prompt)
        if self.of_phrases is not None:
            return self.match_phrases(prompt, self.of_phrases)
        tokens = self.vocabulary.tokenize(prompt)
        if not tokens:
            raise UserError(f"prompt {quote(prompt)} has no words; {self.suggest()}")
        if known := self.find_worded(tokens):
            return PromptMatch(prompt, known)
        if not self.known:
            self.vocabulary.encode([prompt])  # raises if a word is unknown
            return PromptMatch(prompt, prompt)
        return self.match_misspelt(prompt, tokens) or self.match_meaning(prompt, tokens)

    def match_phrases(self, prompt: str, of_phrases: "PromptMatcher") -> PromptMatch:
        """Match each phrase of a prompt separately; errors as in `match`."""
        most = self.vocabulary.max_phrases
        found = [of_phrases.match(phrase) for phrase in split_phrases(prompt, most)]
        phrases = [phrase.read_as for phrase in found]
        note = "; ".join(dict.fromkeys(phrase.note for phrase in found if phrase.note))
        joined = ", ".join(phrases)
        is_split = split_phrases(joined, most) == phrases
        return PromptMatch(prompt, joined if is_split else prompt, note)

    def match_meaning(self, prompt: str, tokens: Sequence[str]) -> PromptMatch:
        """Find the nearest known prompt by meaning; errors as in `match`."""
        phrases = [self.mend(phrase) for phrase in self.split(" ".join(tokens))]
        nearest = self.index.find_nearest(phrases)
        if nearest is None:
            raise UserError(
                f"prompt {quote(prompt)} has no word that the model knows; {self.suggest()}"
            )
        says = [phrase for phrase in phrases if phrase.says_something]
        unknown = [phrase.text for phrase in says if not self.index.knows(phrase)]
        is_understood = 2 * len(unknown) < len(says)
        says_all = nearest.coverage == 1 and not unknown
        says_the_same = nearest.coverage >= MIN_COVERAGE and not self.index.names_otherwise(nearest)
        read_as, note = nearest.prompt, f"prompt {quote(prompt)} is "
        if is_understood and says_the_same:
            note += self.describe_known(read_as)
        elif not says_all and all(token in self.vocabulary.ids for token in tokens):
            read_as = prompt
            note += f"unlike any training prompt; nearest: {quote(nearest.prompt)}"
        else:
            note += f"unlike any training prompt; drawn as the nearest: {quote(read_as)}"
        if is_understood and read_as != prompt and (added := self.index.list_added(nearest)):
            note += f"; added: {name_words(added)}"
        if unknown:
            note += f"; unknown: {name_words(unknown)}"
        if guesses := [f"{p.text} as {p.like}" for p in says if p.like]:
            note += f"; read: {name_words(guesses)}"
        return PromptMatch(prompt, read_as, note)

    def describe_known(self, known: str) -> str:
        """Return the part of a note that names a known prompt."""
        origin = "held out from training" if known in self.held_out else "nearest training prompt"
        return f"read as {quote(known)} ({origin})"

    def match_misspelt(self, prompt: str, tokens: Sequence[str]) -> PromptMatch | None:
        """Find the known prompt that results from correcting a few words."""
        wrong = [token for token in dict.fromkeys(tokens) if token not in self.vocabulary.ids]
        if not 0 < len(wrong) <= MAX_MISSPELT or max(map(len, wrong)) > MAX_LETTERS:
            return None
        choices = [sorted(self.list_near_words(token)) for token in wrong]
        for chosen in itertools.islice(itertools.product(*choices), MAX_SPELLINGS):
            meant = dict(zip(wrong, chosen, strict=True))
            corrected = " ".join(meant.get(token, token) for token in tokens).split(" ")
            if known := self.find_worded(corrected):
                words = name_words([f"{token} as {like}" for token, like in meant.items()])
                note = f"prompt {quote(prompt)} is {self.describe_known(known)}; read: {words}"
                return PromptMatch(prompt, known, note)
        return None

    def list_near_words(self, token: str) -> set[str]:
        """List words, and pairs of words, at edit distance one.

        All spellings that differ by a letter, a missing space or two exchanged letters are looked
        up (Norvig, How to write a spelling corrector, 2007).
        """
        cuts = [(token[:place], token[place:]) for place in range(len(token) + 1)]
        near = {a + b[1:] for a, b in cuts} | {a + b[1:2] + b[:1] + b[2:] for a, b in cuts}
        near |= {a + c + b[skip:] for a, b in cuts for c in self.letters for skip in (0, 1)}
        known = self.vocabulary.ids.keys()
        return (near & known) | {f"{a} {b}" for a, b in cuts if a in known and b in known}

    def find_worded(self, tokens: Sequence[str]) -> str | None:
        """Return the known prompt with these words, ignoring articles."""
        return self.by_tokens.get(tuple(tokens)) or self.by_tokens.get(without_articles(tokens))

    def split(self, text: str) -> list[Phrase]:
        """Split a text into phrases of the synonym table."""
        return self.index.synonyms.split(text)

    def mend(self, phrase: Phrase) -> Phrase:
        """Read an unknown word as a similar known one, if any."""
        is_readable = self.index.knows(phrase) or not phrase.says_something
        if is_readable or len(phrase.text) < MIN_MENDED or phrase.is_listed:
            return phrase
        like = self.find_spelling(phrase.text) or self.find_meaning(phrase.text)
        if like is None:
            return phrase
        return replace(self.split(like)[0], text=phrase.text, like=like)

    def find_spelling(self, token: str) -> str | None:
        """Return the readable word that a token misspells, if any."""
        words = [text for text in self.readable_words if text[0] == token[0]]
        long = [text for text in words if len(text) >= MIN_MENDED]
        return next(iter(difflib.get_close_matches(token, long, 1, SPELLING_CUTOFF)), None)

    def find_meaning(self, token: str) -> str | None:
        """Return the readable word with nearly the same meaning, if any."""
        if self.embed is None or not self.readable_words:
            return None
        likeness = self.embeddings @ self.embed([token])[0]
        nearest = int(likeness.argmax())
        return self.readable_words[nearest] if likeness[nearest] >= MIN_COSINE else None

    def suggest(self) -> str:
        """Return a text that suggests some known prompts."""
        some = ", ".join(quote(prompt) for prompt in choose_evenly(self.prompts, NUM_SUGGESTED))
        return f"known prompts: {some}" if some else "use words of the training prompts"


def without_articles(tokens: Iterable[str]) -> tuple[str, ...]:
    """Return words without articles."""
    return tuple(token for token in tokens if token not in ARTICLES)


def quote(prompt: str) -> str:
    """Quote a prompt for a message, shortened."""
    return f'"{" ".join(shorten_prompt(prompt).split())}"'


def name_words(words: Sequence[str]) -> str:
    """List words for a message, at most MAX_NAMED of them."""
    unique = list(dict.fromkeys(words))
    more = f" and {len(unique) - MAX_NAMED} more" if len(unique) > MAX_NAMED else ""
    return ", ".join(token[:40] for token in unique[:MAX_NAMED]) + more


def warn_of_length(prompt: str) -> str:
    """Return a note if a prompt has more words than are read."""
    count = len(split_words(prompt))
    if count <= MAX_TOKENS:
        return ""
    return f"prompt {quote(prompt)} has {count} words; only the first {MAX_TOKENS} are read"
