"""Score tracks against prompts: accuracy with intervals, steadiness, diversity."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from t2vgan.evaluation.prompt_accuracy.attributes import Attributes, classify_objects, match_objects
from t2vgan.evaluation.prompt_accuracy.diversity import (
    Spread,
    Steadiness,
    mean_if_any,
    measure_spread,
    measure_steadiness,
)
from t2vgan.evaluation.prompt_accuracy.ideal_paths import path_residuals
from t2vgan.evaluation.prompt_accuracy.motion import NONE
from t2vgan.evaluation.prompt_accuracy.object_paths import Track
from t2vgan.evaluation.prompt_accuracy.prompts import (
    Expected,
    check_grammar,
    expected_objects,
    merge_paraphrases,
    scored_attributes,
)
from t2vgan.evaluation.prompt_accuracy.select import select_tracker
from t2vgan.utils.frozen import Frozen

NORMAL_QUANTILE_95 = 1.959963984540054
MAX_LISTED_PROMPTS = 100
SMALLEST_VARIATION = 1e-6  # of real clips; smaller ones are rounding errors
Interval = tuple[float, float]


class AttributeScores(Frozen):
    """How often one attribute is as prompted."""

    num_clips: int
    """Clips with a training prompt that names the attribute."""
    right: float | None
    """Share of right clips among these."""
    right_interval: Interval | None
    num_held_out_clips: int
    """Clips with a held-out prompt that names it."""
    right_held_out: float | None
    right_held_out_interval: Interval | None
    confusion: dict[str, dict[str, int]]
    """Value asked for -> value seen -> number of objects, over all prompts."""


class Scores(Frozen):
    """Scores of N clips; None if no clip could be measured."""

    num_clips: int
    accuracy: float | None
    """Share of the clips with a training prompt in which every attribute is as prompted."""
    accuracy_interval: Interval | None
    """Wilson 95 % interval of `accuracy`."""
    accuracy_held_out: float | None
    accuracy_held_out_interval: Interval | None
    per_attribute: dict[str, AttributeScores]
    per_prompt: dict[str, float]
    """Accuracy by prompt; this and the next two are empty for over MAX_LISTED_PROMPTS prompts."""
    clips_per_prompt: dict[str, int]
    confusion: dict[str, dict[str, int]]
    """Prompt -> motion seen -> number of clips."""
    one_object: float
    """Share of frames with exactly as many separate objects as the prompt has."""
    steadiness: Steadiness
    spread: Spread
    path_residual: float | None
    """RMS distance of the object from the ideal path of its motion, in pixels; mean over the clips
    of one object with a training prompt whose motion is right."""
    flicker: float
    """Mean absolute change of background pixels between frames, in grey levels."""


class RelativeToReal(Frozen):
    """Variation of generated clips relative to real ones.

    Values are None if the real clips do not vary, or none can be tracked.
    """

    drift_area: float | None
    drift_colour: float | None
    drift_shape: float | None
    path_residual: float | None
    diversity: float | None
    """Mean of the next three; 1 is ideal, 0 means one clip per prompt."""
    diversity_start: float | None
    diversity_size: float | None
    diversity_speed: float | None


def score_clips(
    frames: np.ndarray, prompts: Sequence[str], held_out_prompts: Sequence[str] = ()
) -> Scores:
    """Score clips (N, T, H, W, 3) uint8 against their N prompts.

    Clips whose prompt is in `held_out_prompts` count for `accuracy_held_out` only.

    Raises:
        UserError: the grammar does not know a prompt.
    """
    return score_track(select_tracker(prompts)(frames), prompts, held_out_prompts)


def score_track(
    track: Track,
    prompts: Sequence[str],
    held_out_prompts: Sequence[str] = (),
    is_readable: np.ndarray | None = None,
) -> Scores:
    """Score N tracks against their N prompts, as `score_clips` does.

    `is_readable` (N,) bool marks readable clips; flicker is measured on these only.
    """
    if len(prompts) != len(track.x):
        raise ValueError(f"{len(track.x)} clips but {len(prompts)} prompts")
    check_grammar(prompts)
    expected = [expected_objects(prompt) or () for prompt in prompts]
    predicted = [
        match_objects(*both) for both in zip(expected, classify_objects(track), strict=True)
    ]
    held_out = np.isin(np.array(prompts), list(held_out_prompts))
    names = scored_attributes(prompts)
    joint = np.array([_matches(*both, names) for both in zip(expected, predicted, strict=True)])
    accuracy, interval = _share(joint[~held_out])
    accuracy_held_out, interval_held_out = _share(joint[held_out])
    num_single = np.sum([part.is_single for part in track.objects], axis=0)
    num_expected = np.array([len(objects) for objects in expected])
    trained, trained_prompts = track.select(~held_out), np.array(prompts)[~held_out]
    motions = [motions_of(clip) for clip in predicted]
    is_right = np.array([motions_of(e) == m for e, m in zip(expected, motions, strict=True)])
    followed = np.flatnonzero(~held_out & is_right & (num_expected == 1))
    return Scores(
        num_clips=len(prompts),
        accuracy=accuracy,
        accuracy_interval=interval,
        accuracy_held_out=accuracy_held_out,
        accuracy_held_out_interval=interval_held_out,
        per_attribute={
            name: _attribute_scores(name, expected, predicted, held_out) for name in names
        },
        **_prompt_fields(prompts, joint, motions),
        one_object=float((num_single == num_expected[:, None]).mean()),
        steadiness=measure_steadiness(trained, trained_prompts),
        spread=measure_spread(trained, trained_prompts),
        path_residual=mean_if_any(
            path_residuals(track.select(followed), [motions[clip] for clip in followed])
        ),
        flicker=float(track.flicker[slice(None) if is_readable is None else is_readable].mean()),
    )


def score_real_track(track: Track, prompts: Sequence[str]) -> Scores:
    """Score the tracks of real clips, the reference for generated ones.

    Variation within a prompt can be measured only for prompts of several clips, which are few among
    a thousand Moving Shapes. So clips whose prompts are paraphrases count as clips of one prompt.
    """
    return score_track(track, merge_paraphrases(prompts))


def _matches(
    expected: Sequence[Mapping[str, str]], predicted: Sequence[Attributes], names: Sequence[str]
) -> bool:
    """Return whether all objects have all values that the prompt names."""
    return all(
        found.get(name, NONE) == asked[name]
        for asked, found in zip(expected, predicted, strict=True)
        for name in names
        if name in asked
    )


def _attribute_scores(
    name: str,
    expected: Sequence[Expected],
    predicted: Sequence[Sequence[Attributes]],
    held_out: np.ndarray,
) -> AttributeScores:
    """Score one attribute; all objects of a clip must have it right."""
    pairs = [
        [
            (asked[name], found.get(name, NONE))
            for asked, found in zip(*clip, strict=True)
            if name in asked
        ]
        for clip in zip(expected, predicted, strict=True)
    ]
    is_asked = np.array([bool(clip) for clip in pairs])
    right = np.array([all(asked == found for asked, found in clip) for clip in pairs])
    trained, other = right[is_asked & ~held_out], right[is_asked & held_out]
    share, interval = _share(trained)
    share_held_out, interval_held_out = _share(other)
    confusion: dict[str, Counter[str]] = {}
    for asked, found in sorted(itertools.chain.from_iterable(pairs)):
        confusion.setdefault(asked, Counter())[found] += 1
    return AttributeScores(
        num_clips=len(trained),
        right=share,
        right_interval=interval,
        num_held_out_clips=len(other),
        right_held_out=share_held_out,
        right_held_out_interval=interval_held_out,
        confusion={value: dict(counts.most_common()) for value, counts in confusion.items()},
    )


def _prompt_fields(
    prompts: Sequence[str], right: np.ndarray, motions: Sequence[str]
) -> dict[str, Any]:
    """Return the fields of Scores by prompt; empty for too many prompts."""
    confusion = {prompt: Counter[str]() for prompt in prompts}
    if len(confusion) > MAX_LISTED_PROMPTS:
        return {"per_prompt": {}, "clips_per_prompt": {}, "confusion": {}}
    num_right = Counter[str]()
    for prompt, is_right, motion in zip(prompts, right.tolist(), motions, strict=True):
        confusion[prompt][motion] += 1
        num_right[prompt] += is_right
    totals = {prompt: seen.total() for prompt, seen in confusion.items()}
    return {
        "per_prompt": {prompt: num_right[prompt] / total for prompt, total in totals.items()},
        "clips_per_prompt": totals,
        "confusion": {prompt: dict(seen.most_common()) for prompt, seen in confusion.items()},
    }


def motions_of(objects: Iterable[Mapping[str, str]]) -> str:
    """Join the motions of a clip's objects into one text."""
    return ", ".join(attributes.get("motion", NONE) for attributes in objects)


def compare(generated: Scores, real: Scores) -> RelativeToReal:
    """Divide the variation of generated clips by that of real ones."""

    def ratio(ours: float | None, theirs: float | None) -> float | None:
        if ours is None or theirs is None or theirs < SMALLEST_VARIATION:
            return None
        return ours / theirs

    diversity = {
        f"diversity_{name}": ratio(getattr(generated.spread, name), getattr(real.spread, name))
        for name in ("start", "size", "speed")
    }
    known = [value for value in diversity.values() if value is not None]
    return RelativeToReal(
        drift_area=ratio(generated.steadiness.area, real.steadiness.area),
        drift_colour=ratio(generated.steadiness.colour, real.steadiness.colour),
        drift_shape=ratio(generated.steadiness.shape, real.steadiness.shape),
        path_residual=ratio(generated.path_residual, real.path_residual),
        diversity=sum(known) / len(known) if known else None,
        **diversity,
    )


def wilson_interval(num_right: int, num_clips: int) -> Interval:
    """Return a share's 95 % score interval (Wilson 1927), or (0, 1)."""
    if num_clips == 0:
        return 0.0, 1.0
    z2 = NORMAL_QUANTILE_95**2
    share = num_right / num_clips
    centre = (share + z2 / (2 * num_clips)) / (1 + z2 / num_clips)
    half = math.sqrt(z2 * (share * (1 - share) / num_clips + z2 / (4 * num_clips**2)))
    half /= 1 + z2 / num_clips
    return max(0.0, centre - half), min(1.0, centre + half)


def may_reach(target: float, share: float, num_clips: int) -> bool:
    """Return whether a target is at most a share's 95 % bound."""
    return target <= wilson_interval(round(share * num_clips), num_clips)[1]


def _share(right: np.ndarray) -> tuple[float, Interval] | tuple[None, None]:
    if not len(right):
        return None, None
    return float(right.mean()), wilson_interval(int(right.sum()), len(right))
