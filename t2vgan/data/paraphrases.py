"""Other words for what prompts of rendered scenes say.

`normalize` replaces them by the scenes' own words, so that a meter reads both; `write_paraphrase`
draws a phrasing.
"""

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

WAYS = {
    "up": ("up", "upwards", "to the top"),
    "down": ("down", "downwards", "to the bottom"),
    "left": ("left", "leftwards", "to the left"),
    "right": ("right", "rightwards", "to the right"),
    **{
        f"{y}-{x}": (f"{y}-{x}", f"{y} and {x}", f"{y} and to the {x}", f"to the {corner} {x}")
        for y, corner in (("up", "upper"), ("down", "lower"))
        for x in ("left", "right")
    },
}
MOVING = ("moving", "going", "drifting", "gliding", "travelling")
SAME_WAY = {"up": ("rising", "ascending"), "down": ("falling", "descending", "sinking")}
SYNONYMS: dict[str, dict[str, tuple[str, ...]]] = {
    "shape": {
        "circle": ("disc", "ball", "dot"),
        "square": ("box", "block"),
        "triangle": (),
        "diamond": ("rhombus", "lozenge"),
        "star": (),
    },
    "colour": {
        "red": ("crimson", "scarlet"),
        "green": ("emerald", "lime"),
        "blue": ("azure", "sapphire"),
        "yellow": ("golden", "lemon"),
        "magenta": ("pink", "fuchsia"),
        "cyan": ("turquoise", "aqua"),
        "orange": ("tangerine", "amber"),
        "black": ("ebony", "jet-black"),
    },
    "size": {"small": ("tiny", "little"), "large": ("big", "huge")},
    "motion": {
        **{
            f"moving {way}": (
                *(f"{verb} {said}" for verb in MOVING for said in phrases),
                *SAME_WAY.get(way, ()),
            )
            for way, phrases in WAYS.items()
        },
        "rotating clockwise": ("circling clockwise", "orbiting clockwise", "revolving clockwise"),
        "rotating counter-clockwise": (
            *("circling counter-clockwise", "orbiting counter-clockwise"),
            *("rotating anticlockwise", "revolving counter-clockwise"),
        ),
        "shrinking": ("getting smaller", "becoming smaller", "growing smaller"),
        "expanding": ("growing", "getting bigger", "getting larger", "becoming bigger"),
        "bouncing vertically": ("bouncing up and down", "jumping up and down"),
        "bouncing horizontally": ("bouncing left and right", "bouncing from side to side"),
        "zigzagging vertically": ("zigzagging up and down", "weaving vertically"),
        "zigzagging horizontally": ("zigzagging left and right", "weaving horizontally"),
    },
}
"""Attribute -> value in the scenes' prompts -> other words for it."""
TEMPLATES = (
    "{article} {look} {motion}",
    "{article} {look} is {motion}",
    "{article} {look} that is {motion}",
    "{look} {motion}",
    "{motion}: {article} {look}",
)
FILLERS = frozenset({"a", "an", "the", "is", "that"})
"""Words that change nothing of what a prompt says."""

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
    """Return a prompt in lower case and in the scenes' own words."""
    return PHRASE.sub(lambda match: VALUE_OF[match[0]], prompt.lower())


def say_the_same(prompt: str, other: str) -> bool:
    """Return whether two prompts differ in synonyms and fillers only."""
    return _content(prompt) == _content(other)


def write_paraphrase(attributes: Mapping[str, str], numbers: Sequence[float]) -> str:
    """Write a phrasing of what a prompt names.

    `attributes` are shape, motion and, if named, colour and size. `numbers` are at least
    6 uniform draws from 0 to 1.
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
