"""Paraphrase the prompts of rendered scenes.

The synonyms are those in `prompts/synonyms.txt` that are marked for captions. `normalize` replaces
them by the scenes' own words, so that a meter reads both; `write_paraphrase` draws a phrasing.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from t2vgan.prompts.synonyms import load_synonyms, read_phrases

SHAPES = ("circle", "square", "triangle", "diamond", "star")
COLOURS = ("red", "green", "blue", "yellow", "magenta", "cyan", "orange", "black")
SIZES = ("small", "large")
WAYS = ("up", "down", "left", "right", "up-left", "up-right", "down-left", "down-right")
OTHER_MOTIONS = (
    *("rotating clockwise", "rotating counter-clockwise", "shrinking", "expanding"),
    *("bouncing vertically", "bouncing horizontally"),
    *("zigzagging vertically", "zigzagging horizontally"),
)


def list_synonyms(value: str) -> tuple[str, ...]:
    """List the phrases for a value that captions use."""
    table = load_synonyms()
    (usual, *_) = read_phrases(table.split(value))
    return table.in_captions.get(usual.meanings, ())


def list_ways_to_move(way: str) -> tuple[str, ...]:
    """List the phrases for moving in a certain way that captions use."""
    verbs, ways = (("moving", *list_synonyms("moving")), (way, *list_synonyms(way)))
    pairs = (f"{verb} {said}" for verb in verbs for said in ways)
    return (*pairs, *list_synonyms(f"moving {way}"))


SYNONYMS: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {value: list_synonyms(value) for value in SHAPES},
    "colour": {value: list_synonyms(value) for value in COLOURS},
    "size": {value: list_synonyms(value) for value in SIZES},
    "motion": {
        **{f"moving {way}": list_ways_to_move(way) for way in WAYS},
        **{value: list_synonyms(value) for value in OTHER_MOTIONS},
    },
}
"""Attribute -> value in the scenes' prompts -> synonyms."""
TEMPLATES = (
    "{article} {look} {motion}",
    "{article} {look} is {motion}",
    "{article} {look} that is {motion}",
    "{look} {motion}",
    "{motion}: {article} {look}",
)
FILLERS = frozenset({"a", "an", "the", "is", "that"})
"""Words that do not change a prompt's meaning."""

VALUE_OF = {
    phrase: value
    for values in SYNONYMS.values()
    for value, phrases in values.items()
    for phrase in phrases
    if phrase != value
}
PHRASE = re.compile(
    r"\b(?:" + "|".join(map(re.escape, sorted(VALUE_OF, key=len, reverse=True))) + r")\b"
)


@lru_cache(maxsize=1 << 16)
def normalize(prompt: str) -> str:
    """Return a prompt in lower case with the scenes' own words."""
    return PHRASE.sub(lambda match: VALUE_OF[match[0]], prompt.lower())


def say_the_same(prompt: str, other: str) -> bool:
    """Return whether two prompts differ only in synonyms and fillers."""
    return _content(prompt) == _content(other)


def write_paraphrase(attributes: Mapping[str, str], numbers: Sequence[float]) -> str:
    """Write a prompt's attributes in other words.

    `attributes` are shape, motion and, if named, colour and size. `numbers` are at least 6 uniform
    random numbers in [0, 1).
    """
    draws = iter(numbers)
    template = _pick(TEMPLATES, next(draws))
    article = _pick(("a", "the"), next(draws))
    said = {
        name: _pick((value, *SYNONYMS[name][value]), next(draws))
        for name, value in attributes.items()
    }
    look = " ".join(said[name] for name in ("size", "colour", "shape") if name in said)
    if article == "a" and look[0] in "aeiou":
        article = "an"
    return template.format(article=article, look=look, motion=said["motion"])


def _content(prompt: str) -> tuple[str, ...]:
    return tuple(w for w in re.findall(r"\w+", normalize(prompt)) if w not in FILLERS)


def _pick(choices: Sequence[str], number: float) -> str:
    return choices[int(number * len(choices))]
