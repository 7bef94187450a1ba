"""Negative controls: score real clips with shuffled prompts or frames."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from t2vgan.evaluation.prompt_accuracy.object_paths import Track
from t2vgan.evaluation.prompt_accuracy.prompts import canonical_form, expected_objects
from t2vgan.evaluation.scores import Interval, score_track
from t2vgan.utils.frozen import Frozen
from t2vgan.utils.seeds import permutation, random_generator


class AttributeControl(Frozen):
    """How often one attribute is still right after shuffling."""

    right: float | None
    right_interval: Interval | None
    chance: float | None
    """Expected value if prompts are assigned at random; None for prompts of several objects, which
    are matched by one of the attributes."""


class Control(Frozen):
    """The accuracy of real clips after shuffling."""

    accuracy: float | None
    accuracy_interval: Interval | None
    per_attribute: dict[str, AttributeControl]


class Controls(Frozen):
    """Both negative controls."""

    chance: float
    """Expected accuracy if prompts are assigned to clips at random."""
    shuffled_prompts: Control
    """Must be near chance, jointly and for each attribute."""
    shuffled_frames: Control
    """Only the motion must be lost."""


def measure_controls(track: Track, prompts: Sequence[str], seed: int) -> Controls:
    """Score clips with shuffled prompts, and with shuffled frames."""
    order = permutation(len(prompts), seed, "shuffled prompts")
    frame_order = random_generator(seed, "shuffled frames").random(track.x.shape).argsort(axis=1)
    return Controls(
        chance=_chance(canonical_form(expected_objects(prompt) or ()) for prompt in prompts),
        shuffled_prompts=_control(track, [prompts[index] for index in order]),
        shuffled_frames=_control(track.reorder_frames(frame_order), prompts),
    )


def _control(track: Track, prompts: Sequence[str]) -> Control:
    scores = score_track(track, prompts)
    expected = [expected_objects(prompt) or () for prompt in prompts]
    asked = [attributes for objects in expected for attributes in objects]
    is_single = len(asked) == len(expected)
    return Control(
        accuracy=scores.accuracy,
        accuracy_interval=scores.accuracy_interval,
        per_attribute={
            name: AttributeControl(
                right=score.right,
                right_interval=score.right_interval,
                chance=_chance(a[name] for a in asked if name in a) if is_single else None,
            )
            for name, score in scores.per_attribute.items()
        },
    )


def _chance(values: Iterable[Any]) -> float:
    """Return the probability that two randomly drawn values are equal."""
    counts = Counter(values)
    return sum((count / counts.total()) ** 2 for count in counts.values())
