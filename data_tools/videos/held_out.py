"""Leave out test rows, and list their captions as held-out prompts."""

import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydantic import JsonValue

from t2vgan.errors import UserError
from t2vgan.tokenizer import split_words

from .input_list.rows import Row, Source
from .prompts import choose_captions
from .settings import ClipSettings, VideoError

TRAIN = "train"
SPLITS = {
    **dict.fromkeys(("train", "training"), TRAIN),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Name of a split in a list -> its usual name."""
MAX_NAMED = 5

Words = tuple[str, ...]


@dataclass(frozen=True)
class HoldOut:
    """Which rows to pack: those of a split, without some prompts."""

    split: str = ""
    """A value of SPLITS; empty selects the training rows, or all rows of a list without splits."""
    prompts: tuple[str, ...] = ()

    def as_config(self) -> dict[str, JsonValue]:
        """Return the settings that differ from the defaults."""
        chosen: dict[str, JsonValue] = {"split": self.split} if self.split else {}
        return chosen | ({"hold_out": list(self.prompts)} if self.prompts else {})

    @classmethod
    def from_config(cls, config: Mapping[str, JsonValue]) -> "HoldOut":
        """Return the choice from a dict like that of `as_config`."""
        prompts = config.get("hold_out", [])
        assert isinstance(prompts, list)
        return cls(str(config.get("split", "")), tuple(map(str, prompts)))

    def apply(self, source: Source, settings: ClipSettings) -> Source:
        """Return the source without held-out rows, but with their captions.

        A caption of a held-out row is a held-out prompt if the remaining rows contain all of its
        words, but none has the whole caption. Case, punctuation and spaces are ignored.

        Raises:
            UserError: a prompt to hold out is not among the captions, or no row is left.
        """
        has_splits = any(row.split for row in source.rows)
        if self.split and not has_splits:
            raise UserError(
                f"--split {self.split}: the list has no column `split`, and no folder of"
                " --class-folders is named so"
            )
        if not (has_splits or self.prompts):
            return source
        wanted = {_words(prompt): prompt for prompt in self.prompts}
        kept, left_out = self._divide(source.rows, wanted, settings)
        if not kept:
            splits = Counter(row.split for row in source.rows if row.split)
            found = ", ".join(f"{n} {split}" for split, n in sorted(splits.items()))
            raise UserError(
                f"no row of split {self.split or TRAIN!r} is left after --hold-out"
                f" (splits: {found or 'none'})"
            )
        prompts = self._list_prompts(kept, left_out, wanted, settings)
        known = {token for row in kept for words in _captions(row, settings) for token in words}
        listed = [prompt for prompt in prompts if known.issuperset(_words(prompt))]
        return replace(
            source,
            rows=kept,
            held_out_prompts=tuple(listed),
            num_held_out=len(left_out),
            num_unknown=len(prompts) - len(listed),
        )

    def _divide(
        self, rows: Sequence[Row], wanted: Mapping[Words, str], settings: ClipSettings
    ) -> tuple[list[Row], list[Row]]:
        """Return the rows to pack and those left out."""
        kept: list[Row] = []
        left_out: list[Row] = []
        found = set[Words]()
        known: dict[Words, str] = {}
        chosen = self.split or TRAIN
        for row in map(_with_known_split, rows):
            captions = _captions(row, settings) if wanted else {}
            known |= captions
            own = captions.keys() & wanted.keys()
            found |= own
            is_other = bool(row.split) and row.split != chosen and not row.problem
            (left_out if own or is_other else kept).append(row)
        if missing := [prompt for words, prompt in wanted.items() if words not in found]:
            raise UserError(_format_missing(missing, list(known.values())))
        return kept, left_out

    def _list_prompts(
        self,
        kept: Sequence[Row],
        left_out: Sequence[Row],
        wanted: Mapping[Words, str],
        settings: ClipSettings,
    ) -> tuple[str, ...]:
        if self.split not in ("", TRAIN):  # the other splits are no held-out prompts of a test set
            left_out = [row for row in left_out if row.split == self.split]
        shown = {words for row in kept for words in _captions(row, settings)}
        prompts = dict(wanted)
        for row in left_out:
            prompts |= _captions(row, settings)
        return tuple(prompt for words, prompt in prompts.items() if words not in shown)


ALL_ROWS = HoldOut()
"""All rows of a list without splits; of others, the training rows."""


def describe_held_out(source: Source) -> list[str]:
    """Describe the rows that are left out, and their prompts."""
    if not source.num_held_out:
        return []
    prompts = list(source.held_out_prompts)
    some = ", ".join(map(repr, prompts[:MAX_NAMED])) + (", ..." if prompts[MAX_NAMED:] else "")
    named = f"{len(prompts)} held-out prompts: {some}" if prompts else "no prompt is held out"
    if source.num_unknown:
        named += f"; {source.num_unknown} captions are not listed: no other caption has their words"
    return [f"{source.num_held_out:9d} videos are held out for testing; {named}"]


def _with_known_split(row: Row) -> Row:
    """Return the row with its split's usual name, or with a problem."""
    if not row.split:
        return row
    split = SPLITS.get(row.split.lower())
    if split is None:
        problem = f"split {row.split!r} must be train, validation or test"
        return replace(row, problem=row.problem or problem)
    return replace(row, split=split)


def _captions(row: Row, settings: ClipSettings) -> dict[Words, str]:
    """Return the captions of a row's clips, keyed by their words."""
    if row.problem and row.problem_kind != "prompt":
        return {}
    try:
        captions = choose_captions(row, settings)
    except VideoError:
        return {}
    return {_words(caption): caption for caption in captions}


def _words(prompt: str) -> Words:
    return tuple(split_words(prompt))


def _format_missing(missing: Sequence[str], known: Sequence[str]) -> str:
    prompt = missing[0]
    near = difflib.get_close_matches(prompt, known[:50_000], n=1, cutoff=0.5)
    hint = f"; nearest: {near[0]!r}" if near else ""
    others = f" (nor {len(missing) - 1} others)" if len(missing) > 1 else ""
    return (
        f"--hold-out {prompt!r}: no caption matches it{others}{hint}; a prompt without clips needs"
        " no --hold-out"
    )
