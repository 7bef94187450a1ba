"""Measure the variation of objects within clips, and of clips within prompts."""

from collections.abc import Sequence

import numpy as np

from t2vgan.evaluation.prompt_accuracy.attributes import OUTLINE_SCALES
from t2vgan.evaluation.prompt_accuracy.motion import bridge_gaps, is_tracked
from t2vgan.evaluation.prompt_accuracy.object_paths import Track, concat_tracks
from t2vgan.evaluation.prompt_accuracy.prompts import expected_objects
from t2vgan.utils.frozen import Frozen

RESIZING = ("shrinking", "expanding")


class Steadiness(Frozen):
    """How much an object changes within a clip.

    Values are means over clips of a std over frames. As in `Spread`, clips are those with training
    prompts, so that real clips show the same motions.
    """

    area: float | None
    """Std / mean of the area, without shrinking and expanding clips and cut objects."""
    colour: float | None
    """Std of the object's mean colour, RMS over channels, in grey levels."""
    shape: float | None
    """Std of the outline's moments in units of OUTLINE_SCALES, RMS over moments, without cut
    objects."""


class Spread(Frozen):
    """Differences of clips of one prompt: std within, RMS over prompts.

    Lengths are relative to the frame's shorter side.
    """

    start: float | None
    """Start position, RMS over x and y."""
    size: float | None
    """Object radius, mean over the clip."""
    speed: float | None
    """Length of the object's path through the clip."""


def measure_steadiness(track: Track, prompts: np.ndarray) -> Steadiness:
    """Measure the steadiness of every object of N clips."""
    expected = [expected_objects(prompt) or () for prompt in prompts]
    keeps_size = np.array(
        [all(e["motion"] not in RESIZING for e in clip) for clip in expected], dtype=bool
    )
    num_objects = len(track.objects)
    track = concat_tracks(track.objects)
    uncut = track.is_single & ~track.cut
    whole = uncut & np.tile(keeps_size, num_objects)[:, None]
    area = _std_over_frames(track.area, whole) / _mean_over_frames(track.area, whole)
    channels = [_std_over_frames(track.colour[..., c], track.is_single) for c in range(3)]
    moments = [
        _std_over_frames(track.outline[..., m], uncut) / scale
        for m, scale in enumerate(OUTLINE_SCALES)
    ]
    return Steadiness(
        area=mean_if_any(area),
        colour=mean_if_any(_root_mean_square(channels)),
        shape=mean_if_any(_root_mean_square(moments)),
    )


def measure_spread(track: Track, prompts: np.ndarray) -> Spread:
    """Measure the spread of tracked objects, without prompts of one clip."""
    num_objects, num_clips = len(track.objects), len(prompts)
    kinds = np.repeat(np.arange(num_objects), num_clips)  # the order is the same in all clips
    track, prompts = concat_tracks(track.objects), np.tile(prompts, num_objects)
    tracked = is_tracked(track)
    x, y = bridge_gaps(np.stack([track.x, track.y]), track.is_single) / track.unit
    radius = _mean_over_frames(np.sqrt(track.area / np.pi), track.is_single) / track.unit
    speed = np.hypot(np.diff(x, axis=1), np.diff(y, axis=1)).sum(axis=1)
    groups = [
        np.flatnonzero(tracked & (prompts == prompt) & (kinds == kind))
        for prompt in dict.fromkeys(prompts)
        for kind in range(num_objects)
    ]
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
    """Return the mean over valid frames; NaN for fewer than two."""
    count = valid.sum(axis=1)
    total = np.where(valid, values, 0).sum(axis=1)
    return np.where(count > 1, total / np.maximum(count, 1), np.nan)


def _std_over_frames(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    centre = _mean_over_frames(values, valid)[:, None]
    return np.sqrt(_mean_over_frames(np.square(values - centre), valid))


def _root_mean_square(values: Sequence[np.ndarray]) -> np.ndarray:
    return np.sqrt(np.mean(np.square(values), axis=0))


def mean_if_any(values: np.ndarray) -> float | None:
    """Return the mean of values that are not NaN, or None."""
    return float(np.nanmean(values)) if np.isfinite(values).any() else None
