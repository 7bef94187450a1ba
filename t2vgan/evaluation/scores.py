"""From tracks and prompts to numbers: accuracy with intervals, one object, drift, diversity."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from t2vgan.config import Frozen
from t2vgan.evaluation.attributes import OUTLINE_SCALES, read_attributes
from t2vgan.evaluation.ideal_paths import path_residuals
from t2vgan.evaluation.motion import MIN_SHARE_ALONE, bridge_gaps
from t2vgan.evaluation.prompts import check_prompts, expected_attributes, scored_attributes
from t2vgan.evaluation.tracking import Track, track

NORMAL_QUANTILE_95 = 1.959963984540054
MAX_LISTED_PROMPTS = 100
SMALLEST_VARIATION = 1e-6  # of real clips; below it is rounding, as in scenes without any

Interval = tuple[float, float]


class Steadiness(Frozen):
    """How much an object changes within a clip: means over clips of a std over frames.

    Like `Spread`, over clips with training prompts, so that real clips show the same motions.
    """

    area: float | None
    """Std of the area over its mean; shrinking and expanding clips and cut objects left out."""
    colour: float | None
    """Std of the object's mean colour, RMS over channels, grey levels."""
    shape: float | None
    """Std of the outline's moments, RMS over them, in units that tell shapes apart; cut objects
    left out."""


class Spread(Frozen):
    """How much clips of one prompt differ: std within a prompt, RMS over prompts."""

    start: float | None
    """Start position, RMS over x and y, over the frame's shorter side."""
    size: float | None
    """Object radius, mean over the clip, over the frame's shorter side."""
    speed: float | None
    """Length of the object's path through the clip, over the frame's shorter side."""


class AttributeScores(Frozen):
    """How often one attribute is what the prompts say."""

    right: float | None
    """Share of the clips with a training prompt."""
    right_interval: Interval | None
    right_held_out: float | None
    right_held_out_interval: Interval | None
    confusion: dict[str, dict[str, int]]
    """value asked for -> value seen -> number of clips, of all prompts."""


class Scores(Frozen):
    """What the meter says about N clips and their prompts. None: no clip to measure it on."""

    num_clips: int
    accuracy: float | None
    """Share of clips with a training prompt in which every attribute is the prompt's."""
    accuracy_interval: Interval | None
    """Wilson 95 % interval of `accuracy`."""
    accuracy_held_out: float | None
    accuracy_held_out_interval: Interval | None
    per_attribute: dict[str, AttributeScores]
    per_prompt: dict[str, float]
    """Accuracy; this and the next two are empty where prompts are too many to have clips each."""
    clips_per_prompt: dict[str, int]
    confusion: dict[str, dict[str, int]]
    """prompt -> motion seen -> number of clips."""
    one_object: float
    """Share of frames with exactly one object."""
    steadiness: Steadiness
    spread: Spread
    path_residual: float | None
    """RMS distance of the object from the ideal path of its motion, pixels: mean over the clips
    with a training prompt whose motion is right."""
    flicker: float
    """Mean absolute change of background pixels from frame to frame, grey levels."""


class RelativeToReal(Frozen):
    """Generated over real clips; None where the real clips do not vary or none can be followed."""

    drift_area: float | None
    drift_colour: float | None
    drift_shape: float | None
    path_residual: float | None
    diversity: float | None
    """Mean of the three that follow; 1 is right, 0 is one clip per prompt."""
    diversity_start: float | None
    diversity_size: float | None
    diversity_speed: float | None


def score_clips(
    frames: np.ndarray, prompts: Sequence[str], held_out_prompts: Sequence[str] = ()
) -> Scores:
    """Score (N, T, H, W, 3) uint8 clips against their N prompts.

    Clips whose prompt is in `held_out_prompts` count for `accuracy_held_out` only. Raises UserError
    when the grammar does not know a prompt.
    """
    return score_track(track(frames), prompts, held_out_prompts)


def score_track(
    track: Track, prompts: Sequence[str], held_out_prompts: Sequence[str] = ()
) -> Scores:
    """Score N tracks against their N prompts, as `score_clips` does."""
    if len(prompts) != len(track.x):
        raise ValueError(f"{len(track.x)} clips but {len(prompts)} prompts")
    check_prompts(prompts)
    expected = [expected_attributes(prompt) or {} for prompt in prompts]
    seen = read_attributes(track)
    held_out = np.isin(np.array(prompts), list(held_out_prompts))
    right = {
        name: np.array([e.get(name, s) == s for e, s in zip(expected, seen[name], strict=True)])
        for name in scored_attributes(prompts)
    }
    joint = np.all(list(right.values()), axis=0)
    accuracy, interval = _share(joint[~held_out])
    accuracy_held_out, interval_held_out = _share(joint[held_out])
    trained, trained_prompts = track.select(~held_out), np.array(prompts)[~held_out]
    followed = np.flatnonzero(~held_out & right["motion"])
    return Scores(
        num_clips=len(prompts),
        accuracy=accuracy,
        accuracy_interval=interval,
        accuracy_held_out=accuracy_held_out,
        accuracy_held_out_interval=interval_held_out,
        per_attribute={
            name: _attribute_scores([e.get(name) for e in expected], seen[name], held_out)
            for name in right
        },
        **_by_prompt(prompts, joint, seen["motion"]),
        one_object=float(track.alone.mean()),
        steadiness=_steadiness(trained, trained_prompts),
        spread=_spread(trained, trained_prompts),
        path_residual=_mean(
            path_residuals(
                track.select(followed), [seen["motion"][clip] for clip in followed.tolist()]
            )
        ),
        flicker=float(track.flicker.mean()),
    )


def _attribute_scores(
    asked: Sequence[str | None], seen: Sequence[str], held_out: np.ndarray
) -> AttributeScores:
    is_asked = np.array([value is not None for value in asked])
    right = np.array([a == s for a, s in zip(asked, seen, strict=True)])
    share, interval = _share(right[is_asked & ~held_out])
    share_held_out, interval_held_out = _share(right[is_asked & held_out])
    confusion: dict[str, Counter[str]] = {
        value: Counter() for value in sorted(value for value in set(asked) if value is not None)
    }
    for a, s in zip(asked, seen, strict=True):
        if a is not None:
            confusion[a][s] += 1
    return AttributeScores(
        right=share,
        right_interval=interval,
        right_held_out=share_held_out,
        right_held_out_interval=interval_held_out,
        confusion={value: dict(counts.most_common()) for value, counts in confusion.items()},
    )


def _by_prompt(prompts: Sequence[str], right: np.ndarray, motions: Sequence[str]) -> dict[str, Any]:
    """Return the fields of Scores that list every prompt; empty where these are too many."""
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


def compare(generated: Scores, real: Scores) -> RelativeToReal:
    """Divide what varies in generated clips by the same in real ones."""

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
    """Return the 95 % score interval of a share (Wilson 1927), closed form; (0, 1) for no clips."""
    if num_clips == 0:
        return 0.0, 1.0
    z2 = NORMAL_QUANTILE_95**2
    share = num_right / num_clips
    centre = (share + z2 / (2 * num_clips)) / (1 + z2 / num_clips)
    half = math.sqrt(z2 * (share * (1 - share) / num_clips + z2 / (4 * num_clips**2)))
    half /= 1 + z2 / num_clips
    return max(0.0, centre - half), min(1.0, centre + half)


def _share(right: np.ndarray) -> tuple[float, Interval] | tuple[None, None]:
    if not len(right):
        return None, None
    return float(right.mean()), wilson_interval(int(right.sum()), len(right))


def _steadiness(track: Track, prompts: np.ndarray) -> Steadiness:
    motions = [(expected_attributes(prompt) or {})["motion"] for prompt in prompts]
    keeps_size = [motion not in ("shrinking", "expanding") for motion in motions]
    whole = track.alone & ~track.cut & np.array(keeps_size, dtype=bool)[:, None]
    area = _std_over_frames(track.area, whole) / _mean_over_frames(track.area, whole)
    channels = [_std_over_frames(track.colour[..., c], track.alone) for c in range(3)]
    moments = [
        _std_over_frames(track.outline[..., m], track.alone & ~track.cut) / scale
        for m, scale in enumerate(OUTLINE_SCALES)
    ]
    return Steadiness(
        area=_mean(area),
        colour=_mean(_root_mean_square(channels)),
        shape=_mean(_root_mean_square(moments)),
    )


def _spread(track: Track, prompts: np.ndarray) -> Spread:
    """Measure the clips in which an object can be followed; prompts with one such clip are out."""
    followed = track.alone.mean(axis=1) >= MIN_SHARE_ALONE
    x, y = bridge_gaps(np.stack([track.x, track.y]), track.alone) / track.unit
    radius = _mean_over_frames(np.sqrt(track.area / np.pi), track.alone) / track.unit
    speed = np.hypot(np.diff(x, axis=1), np.diff(y, axis=1)).sum(axis=1)
    groups = [np.flatnonzero(followed & (prompts == p)) for p in dict.fromkeys(prompts)]
    groups = [group for group in groups if len(group) > 1]

    def within_prompt(*values: np.ndarray) -> float | None:
        variances = [np.var(v[group], ddof=1) for v in values for group in groups]
        return float(np.sqrt(np.mean(variances))) if groups else None

    return Spread(
        start=within_prompt(x[:, 0], y[:, 0]),
        size=within_prompt(radius),
        speed=within_prompt(speed),
    )


def _mean_over_frames(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the mean over valid frames of (N, T) values, NaN for clips with fewer than two."""
    count = valid.sum(axis=1)
    total = np.where(valid, values, 0).sum(axis=1)
    return np.where(count > 1, total / np.maximum(count, 1), np.nan)


def _std_over_frames(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    centre = _mean_over_frames(values, valid)[:, None]
    return np.sqrt(_mean_over_frames(np.square(values - centre), valid))


def _root_mean_square(values: Sequence[np.ndarray]) -> np.ndarray:
    return np.sqrt(np.mean(np.square(values), axis=0))


def _mean(values: np.ndarray) -> float | None:
    return float(np.nanmean(values)) if np.isfinite(values).any() else None
