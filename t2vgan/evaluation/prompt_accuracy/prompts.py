"""Parse prompts, and assign them to the clips of an evaluation.

A prompt names a motion and optionally a shape, a colour and a size of its object, in the scenes'
words or synonyms; only what it names is scored. Two objects each have an article, and differ in
colour.
"""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from t2vgan.errors import UserError
from t2vgan.evaluation.prompt_accuracy.attributes import (
    COLOURS,
    SHAPES,
    SIZES,
)
from t2vgan.evaluation.prompt_accuracy.motion import expected_motion
from t2vgan.prompts.paraphrases import FILLERS, normalize
from t2vgan.utils.seeds import permutation

CLIPS_PER_CHOSEN = 4
MAX_OBJECTS = 2
ATTRIBUTES = ("shape", "colour", "size", "motion")
VALUES = {
    **dict.fromkeys(SHAPES, "shape"),
    **dict.fromkeys(COLOURS, "colour"),
    **dict.fromkeys(SIZES, "size"),
}
START_OF_OBJECT = re.compile(r"\b(?=(?:an?|the)\b)", re.IGNORECASE)
JOINING = re.compile(  # except in the bounces "up and down" and "left and right"
    r"\band\b(?!(?<=\bup and) down\b|(?<=\bleft and) right\b)"
)

Expected = tuple[dict[str, str], ...]
CanonicalForm = tuple[tuple[tuple[str, str], ...], ...]


@lru_cache(maxsize=1 << 16)
def expected_objects(prompt: str) -> Expected | None:
    """Parse a prompt: attribute -> value for each object; None if unknown."""
    prompt = normalize(prompt)
    before, *phrases = START_OF_OBJECT.split(prompt)
    if len(phrases) < 2:
        phrases = [prompt]
    elif before.strip():
        return None
    expected = [expected_attributes(phrase) for phrase in phrases]
    known = [attributes for attributes in expected if attributes is not None]
    if len(known) < len(expected) or len(known) > MAX_OBJECTS:
        return None
    names = {attributes.get("colour") for attributes in known}
    if len(known) > 1 and (None in names or len(names) < len(known)):
        return None
    return tuple(known)


def expected_attributes(prompt: str) -> dict[str, str] | None:
    """Parse one object's prompt: attribute -> value; None if unknown."""
    words = re.findall(r"[^\W_]+", JOINING.sub(" ", prompt.lower()))
    values = [w for w in words if w in VALUES]
    named = {VALUES[value]: value for value in values}
    if len(named) < len(values):
        return None  # two values of an attribute, such as two colours: two objects
    rest = [w for w in words if w not in VALUES and w not in FILLERS]
    motion = expected_motion(" ".join(rest))
    return None if motion is None else named | {"motion": motion}


def canonical_form(expected: Expected) -> CanonicalForm:
    """Return a hashable form that ignores the order of objects."""
    return tuple(sorted(tuple(sorted(attributes.items())) for attributes in expected))


def merge_paraphrases(prompts: Iterable[str], known: Sequence[str] = ()) -> list[str]:
    """Replace each prompt by the first one with the same meaning.

    `known` prompts come before. Prompts that the grammar does not know are kept.
    """
    first: dict[CanonicalForm, str] = {}
    merged = []
    for prompt in (*known, *prompts):
        expected = expected_objects(prompt)
        merged.append(first.setdefault(canonical_form(expected), prompt) if expected else prompt)
    return merged[len(known) :]


def unknown_prompts(prompts: Iterable[str]) -> list[str]:
    """List the distinct prompts that the grammar does not know, in order."""
    return [prompt for prompt in dict.fromkeys(prompts) if expected_objects(prompt) is None]


def check_grammar(prompts: Sequence[str]) -> None:
    """Raise UserError if the grammar does not know some prompts."""
    if problem := describe_unknown(prompts):
        raise UserError(problem)


def describe_unknown(prompts: Iterable[str]) -> str | None:
    """Describe the prompts that the grammar does not know; None without any."""
    unknown = unknown_prompts(prompts)
    if not unknown:
        return None
    if unknown == [""]:
        return "there are clips without a caption, which the meter cannot score"
    listed = ", ".join(map(repr, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
    return (
        f"the meter does not know {len(unknown)} of the prompts: {listed}; it scores the"
        " prompts of rendered scenes (docs/evaluation.md)"
    )


def scored_attributes(prompts: Iterable[str]) -> list[str]:
    """List motion and the attributes in which prompts differ."""
    values: dict[str, set[str]] = {name: set() for name in ATTRIBUTES}
    for prompt in set(prompts):
        for expected in expected_objects(prompt) or ():
            for name, value in expected.items():
                values[name].add(value)
    return [name for name in ATTRIBUTES if len(values[name]) > 1 or name == "motion"]


def assign_prompts(
    training: Sequence[str], held_out: Sequence[str], num_clips: int, *, seed: int
) -> list[str]:
    """Assign a prompt to each of `num_clips` clips.

    If there are enough clips for all P prompts, clip i shows prompt i mod P, training prompts
    first, so that numbers of clips differ by at most one. Otherwise the clips are assigned in this
    way to a selection of prompts, drawn by the seed: up to half of it are held out, and its size is
    such that each has `CLIPS_PER_CHOSEN` clips, because variety shows only within a prompt.
    """
    if num_clips < len(training) + len(held_out):
        num_prompts = -(-num_clips // CLIPS_PER_CHOSEN)
        num_held_out = min(num_prompts // 2, len(held_out))
        training = _choose(training, num_prompts - num_held_out, seed)
        held_out = _choose(held_out, num_held_out, seed)
    prompts = [*training, *held_out]
    return [prompts[index % len(prompts)] for index in range(num_clips)]


def _choose(prompts: Sequence[str], number: int, seed: int) -> list[str]:
    order = permutation(len(prompts), seed, "dealt prompts")
    return [prompts[index] for index in order[:number]]
