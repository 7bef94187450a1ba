"""Track one or two handwritten digits, and read them in every frame.

Strokes that lie near each other are one digit. A clip shows two where more of its frames hold
several than one; then frames in which the two touch, or a third is seen, count for neither.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from t2vgan.data.digit_glyphs import NUM_DIGITS, classify_digits
from t2vgan.evaluation.prompt_accuracy.object_paths import Foreground, Track, track_in_chunks
from t2vgan.evaluation.prompt_accuracy.objects import (
    label_components,
    measure_components,
    pick_components,
)

NEAR = 1 / 32  # of the shorter side: ink is dilated so far, and what then touches is one digit
MAX_DIGIT_RADIUS = 0.17  # of the shorter side, root mean square: more is two digits that touch
NUM_DIGITS_SHOWN = 2


def track_digits(frames: np.ndarray) -> Track:
    """Track one or two digits through clips.

    Frames are (N, T, H, W, 3) uint8. The lower digit comes first, so that clips of one prompt
    agree.
    """
    return track_in_chunks(_track_chunk, frames)


def _track_chunk(frames: np.ndarray) -> Track:
    foreground = Foreground.from_frames(frames)
    shape = foreground.mask.shape[:2]
    fields, num_seen, chosen = _find_digits(foreground)
    num_seen, chosen = num_seen.reshape(shape), chosen.reshape(*shape, NUM_DIGITS_SHOWN)
    has_two = (num_seen > 1).sum(axis=1, keepdims=True) > (num_seen == 1).sum(axis=1, keepdims=True)
    is_pair = has_two & (num_seen == NUM_DIGITS_SHOWN) & (chosen >= 0).all(axis=2)
    chosen = _match_nearest(chosen, np.stack([fields["x"], fields["y"]], axis=1), is_pair)
    chosen = _lower_first(chosen, fields["digit"], is_pair)
    crowd = np.where(num_seen > 0, NUM_DIGITS_SHOWN, 0)  # in clips of two: neither is single
    first = np.where(has_two, np.where(is_pair, 1, crowd), num_seen)
    tracks = [
        _make_track(foreground, pick_components(fields, chosen[..., rank].ravel()), num_objects)
        for rank, num_objects in enumerate((first, np.where(has_two, first, 0)))
    ]
    return replace(tracks[0], further=tuple(tracks[1:]))


def _find_digits(foreground: Foreground) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Find the digits of F frames.

    Returns the fields of all digits (K, ...), how many each frame shows (one that is too large
    counts as two), and its two largest (F, 2), -1 where there are fewer.
    """
    *_, height, width = foreground.mask.shape
    unit, num_pictures = min(height, width), foreground.mask.shape[0] * foreground.mask.shape[1]
    wide = label_components(_dilate(foreground.mask, max(1, round(NEAR * unit))))
    by_picture = wide.reshape(num_pictures, height + 1, width)[:, :height]
    labels = np.zeros((num_pictures, height + 1, width), wide.dtype)
    labels[:, :height] = by_picture * foreground.mask.reshape(-1, height, width)
    components, fields = measure_components(
        foreground.frames, foreground.contrast, labels.reshape(-1, width), wide
    )
    radius = np.sqrt(fields["spread"] * components.size / (2 * np.pi))
    counts = (1 + (radius > MAX_DIGIT_RADIUS * unit)) * components.is_object
    num_seen = np.bincount(components.frame_of, counts, minlength=num_pictures).astype(np.int64)
    chosen = _two_largest(components.frame_of, components.size * components.is_object, num_pictures)
    known = chosen[chosen >= 0]
    pictures = foreground.contrast.reshape(num_pictures, height, width)[components.frame_of[known]]
    own = by_picture[components.frame_of[known]] == known[:, None, None] + 1
    fields["digit"][known] = classify_digits(np.where(own, pictures, 0).astype(np.float32))
    return fields, num_seen, chosen


def _make_track(
    foreground: Foreground, fields: dict[str, np.ndarray], num_objects: np.ndarray
) -> Track:
    per_frame: dict[str, Any] = {
        name: values.reshape(*num_objects.shape, *values.shape[1:])
        for name, values in fields.items()
    }
    height, width = foreground.mask.shape[2:]
    return Track(
        **per_frame, num_objects=num_objects, flicker=foreground.flicker, height=height, width=width
    )


def _dilate(mask: np.ndarray, reach: int) -> np.ndarray:
    """Dilate each frame of a mask by a disc."""
    import cv2

    num_clips, num_frames, height, width = mask.shape
    strip = np.zeros((num_clips * num_frames, height + reach, width), np.uint8)
    strip[:, :height] = mask.reshape(-1, height, width)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    wide = cv2.dilate(strip.reshape(-1, width), kernel).reshape(strip.shape)
    return wide[:, :height].reshape(mask.shape) > 0


def _two_largest(frame_of: np.ndarray, size: np.ndarray, num_pictures: int) -> np.ndarray:
    """Return the two largest components of each picture, (F, 2), or -1."""
    largest = np.full((num_pictures, NUM_DIGITS_SHOWN), -1)
    by_area = np.argsort(size, kind="stable")
    by_area = by_area[size[by_area] > 0]
    for rank in range(NUM_DIGITS_SHOWN):
        last = np.full(num_pictures, -1)
        last[frame_of[by_area]] = by_area  # the last assignment, the largest, stays
        largest[:, rank] = last
        by_area = by_area[last[frame_of[by_area]] != by_area]
    return largest


def _match_nearest(chosen: np.ndarray, positions: np.ndarray, is_pair: np.ndarray) -> np.ndarray:
    """Order each frame's two components (N, T, 2) by nearest last position."""
    chosen = chosen.copy()
    last = np.full((len(chosen), NUM_DIGITS_SHOWN, 2), np.nan)
    for time in range(chosen.shape[1]):
        here = positions[chosen[:, time]] if len(positions) else last
        cost, crossed = (
            np.linalg.norm(some - last, axis=-1).sum(axis=-1) for some in (here, here[:, ::-1])
        )
        swap = is_pair[:, time] & (crossed < cost)
        chosen[swap, time] = chosen[swap, time, ::-1]
        here = np.where(swap[:, None, None], here[:, ::-1], here)
        last = np.where(is_pair[:, time, None, None], here, last)
    return chosen


def _lower_first(chosen: np.ndarray, digit: np.ndarray, is_pair: np.ndarray) -> np.ndarray:
    """Put the track that is read as the lower digit first."""
    named = np.where(is_pair[..., None], np.concatenate([digit, [-1]])[chosen], -1)
    votes = np.stack([(named == d).sum(axis=1) for d in range(NUM_DIGITS)], axis=-1)
    first, second = votes.argmax(axis=-1).T
    swap = is_pair & (first > second)[:, None]
    return np.where(swap[..., None], chosen[..., ::-1], chosen)
