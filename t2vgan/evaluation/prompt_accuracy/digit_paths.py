"""One or two handwritten digits followed through a clip, and read in every frame.

Strokes that lie near each other are one digit. A clip shows two where more of its frames hold
several than one; then frames in which the two touch, or a third is seen, count for neither.
"""

from dataclasses import replace
from typing import Any

import numpy as np

from t2vgan.data.digit_glyphs import NUM_DIGITS, read
from t2vgan.evaluation.prompt_accuracy.object_paths import Scene, Track, in_chunks
from t2vgan.evaluation.prompt_accuracy.objects import label, measure_groups, pick_groups

NEAR = 1 / 32  # of the shorter side: ink grows so far before what touches is one digit
MAX_DIGIT_RADIUS = 0.17  # of the shorter side, root mean square: more is two digits that touch
NUM_DIGITS_SHOWN = 2


def track_digits(frames: np.ndarray) -> Track:
    """Follow one or two digits through (N, T, H, W, 3) uint8 clips.

    The lower digit comes first, so that clips of one prompt agree.
    """
    return in_chunks(_track_chunk, frames)


def _track_chunk(frames: np.ndarray) -> Track:
    scene = Scene.of(frames)
    shape = scene.mask.shape[:2]
    fields, num_seen, chosen = _find(scene)
    num_seen, chosen = num_seen.reshape(shape), chosen.reshape(*shape, NUM_DIGITS_SHOWN)
    has_two = (num_seen > 1).sum(axis=1, keepdims=True) > (num_seen == 1).sum(axis=1, keepdims=True)
    is_pair = has_two & (num_seen == NUM_DIGITS_SHOWN) & (chosen >= 0).all(axis=2)
    chosen = _follow(chosen, np.stack([fields["x"], fields["y"]], axis=1), is_pair)
    chosen = _lower_first(chosen, fields["digit"], is_pair)
    crowd = np.where(num_seen > 0, NUM_DIGITS_SHOWN, 0)  # in clips of two: neither is alone
    first = np.where(has_two, np.where(is_pair, 1, crowd), num_seen)
    tracks = [
        _track(scene, pick_groups(fields, chosen[..., place].ravel()), num_objects)
        for place, num_objects in enumerate((first, np.where(has_two, first, 0)))
    ]
    return replace(tracks[0], further=tuple(tracks[1:]))


def _find(scene: Scene) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """Return the fields of all digits (K, ...), how many each of F frames shows (one that is too
    large counts as two), and its two largest (F, 2), -1 where there are fewer."""
    *_, height, width = scene.mask.shape
    unit, num_pictures = min(height, width), scene.mask.shape[0] * scene.mask.shape[1]
    wide = label(_grow(scene.mask, max(1, round(NEAR * unit))))
    by_picture = wide.reshape(num_pictures, height + 1, width)[:, :height]
    labels = np.zeros((num_pictures, height + 1, width), wide.dtype)
    labels[:, :height] = by_picture * scene.mask.reshape(-1, height, width)
    groups, fields = measure_groups(scene.frames, scene.contrast, labels.reshape(-1, width), wide)
    radius = np.sqrt(fields["spread"] * groups.size / (2 * np.pi))
    counts = (1 + (radius > MAX_DIGIT_RADIUS * unit)) * groups.is_object
    num_seen = np.bincount(groups.frame_of, counts, minlength=num_pictures).astype(np.int64)
    chosen = _largest(groups.frame_of, groups.size * groups.is_object, num_pictures)
    known = chosen[chosen >= 0]
    pictures = scene.contrast.reshape(num_pictures, height, width)[groups.frame_of[known]]
    own = by_picture[groups.frame_of[known]] == known[:, None, None] + 1
    fields["digit"][known] = read(np.where(own, pictures, 0).astype(np.float32))
    return fields, num_seen, chosen


def _track(scene: Scene, fields: dict[str, np.ndarray], num_objects: np.ndarray) -> Track:
    per_frame: dict[str, Any] = {
        name: values.reshape(*num_objects.shape, *values.shape[1:])
        for name, values in fields.items()
    }
    height, width = scene.mask.shape[2:]
    return Track(
        **per_frame, num_objects=num_objects, flicker=scene.flicker, height=height, width=width
    )


def _grow(mask: np.ndarray, reach: int) -> np.ndarray:
    """Return a mask (N, T, H, W) with all pixels that are near it; frames stay apart."""
    import cv2

    num_clips, num_frames, height, width = mask.shape
    strip = np.zeros((num_clips * num_frames, height + reach, width), np.uint8)
    strip[:, :height] = mask.reshape(-1, height, width)
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    wide = cv2.dilate(strip.reshape(-1, width), kernel).reshape(strip.shape)
    return wide[:, :height].reshape(mask.shape) > 0


def _largest(frame_of: np.ndarray, size: np.ndarray, num_pictures: int) -> np.ndarray:
    """Return the two largest groups of each picture, (F, 2), -1 where there are fewer."""
    largest = np.full((num_pictures, NUM_DIGITS_SHOWN), -1)
    by_area = np.argsort(size, kind="stable")
    by_area = by_area[size[by_area] > 0]
    for place in range(NUM_DIGITS_SHOWN):
        last = np.full(num_pictures, -1)
        last[frame_of[by_area]] = by_area  # the last assignment, the largest, stays
        largest[:, place] = last
        by_area = by_area[last[frame_of[by_area]] != by_area]
    return largest


def _follow(chosen: np.ndarray, places: np.ndarray, is_pair: np.ndarray) -> np.ndarray:
    """Order the two groups of each frame (N, T, 2) as nearest to where they were last."""
    chosen = chosen.copy()
    last = np.full((len(chosen), NUM_DIGITS_SHOWN, 2), np.nan)
    for time in range(chosen.shape[1]):
        here = places[chosen[:, time]] if len(places) else last
        cost, crossed = (
            np.linalg.norm(some - last, axis=-1).sum(axis=-1) for some in (here, here[:, ::-1])
        )
        swap = is_pair[:, time] & (crossed < cost)
        chosen[swap, time] = chosen[swap, time, ::-1]
        here = np.where(swap[:, None, None], here[:, ::-1], here)
        last = np.where(is_pair[:, time, None, None], here, last)
    return chosen


def _lower_first(chosen: np.ndarray, digit: np.ndarray, is_pair: np.ndarray) -> np.ndarray:
    """Let the track that reads as the lower digit come first."""
    named = np.where(is_pair[..., None], np.concatenate([digit, [-1]])[chosen], -1)
    votes = np.stack([(named == d).sum(axis=1) for d in range(NUM_DIGITS)], axis=-1)
    first, second = votes.argmax(axis=-1).T
    swap = is_pair & (first > second)[:, None]
    return np.where(swap[..., None], chosen[..., ::-1], chosen)
