"""Track two objects that differ in colour.

They are those of a clip's two most frequent colours. A pixel belongs to the nearest of COLOURS, if
one is near. In frames in which the two objects touch, or there is an object of a third colour,
neither object counts as single.
"""

from dataclasses import replace

import numpy as np

from t2vgan.evaluation.prompt_accuracy.attributes import COLOURS, MAX_COLOUR_DISTANCE
from t2vgan.evaluation.prompt_accuracy.object_paths import Foreground, Track, track_in_chunks
from t2vgan.evaluation.prompt_accuracy.objects import MIN_OBJECT_AREA, to_strip

NUM_OBJECTS = 2
LEAST_COVERAGE = 0.35  # of a pixel whose contrast is that of objects
UNKNOWN = len(COLOURS)  # label of pixels that are not near any of COLOURS


def track_colours(frames: np.ndarray) -> Track:
    """Track the objects of two colours through clips.

    Frames are (N, T, H, W, 3) uint8. Objects are ordered by their colours in COLOURS, so that clips
    of one prompt agree.
    """
    return track_in_chunks(_track_chunk, frames)


def _track_chunk(frames: np.ndarray) -> Track:
    foreground = Foreground.from_frames(frames)
    labels = _label(foreground)
    num_pixels = np.stack(
        [np.count_nonzero(labels == c, axis=(1, 2, 3)) for c in range(UNKNOWN)], axis=1
    )
    most = np.sort(np.argsort(-num_pixels, axis=1, kind="stable")[:, :NUM_OBJECTS], axis=1)
    masks = [labels == colour[:, None, None, None] for colour in most.T]
    wide = [_dilate(mask) for mask in masks]
    touching = (wide[0] & wide[1]).any(axis=(2, 3))
    others = (labels < UNKNOWN) & ~masks[0] & ~masks[1] & ~wide[0] & ~wide[1]
    crowded = np.count_nonzero(others, axis=(2, 3)) >= MIN_OBJECT_AREA * min(labels.shape[2:]) ** 2
    tracks = []
    for colour, mask, near in zip(most.T, masks, wide, strict=True):
        found = foreground.track(np.where(near, _coverage(foreground, colour), 0), mask)
        found.num_objects[(touching | crowded) & (found.num_objects > 0)] = NUM_OBJECTS
        tracks.append(found)
    return replace(tracks[0], further=tuple(tracks[1:]))


def _label(foreground: Foreground) -> np.ndarray:
    """Label each pixel with the index of its colour, or UNKNOWN.

    Labels are (N, T, H, W) uint8. In RGB space, pixels of soft edges are on the line from the
    background to a colour (an edge of red may be near orange, but is nearer to that line), so the
    nearest colour is the one with the nearest line.
    """
    labels = np.full(foreground.mask.shape, UNKNOWN, np.uint8)
    clip = np.nonzero(foreground.mask)[0]
    seen = foreground.frames[foreground.mask].astype(np.float32)  # (P, 3)
    seen -= foreground.background[clip]
    distance = np.empty((len(COLOURS), len(seen)), np.float32)
    for label, colour in enumerate(COLOURS.values()):
        way = (np.array(colour, np.float32) - foreground.background)[clip]
        share = np.einsum("pc,pc->p", seen, way) / np.maximum(np.square(way).sum(axis=1), 1)
        rest = seen - share.clip(LEAST_COVERAGE, 1)[:, None] * way
        distance[label] = np.square(rest).sum(axis=1)
    near = distance.min(axis=0, initial=np.inf) <= MAX_COLOUR_DISTANCE**2
    labels[foreground.mask] = np.where(near, distance.argmin(axis=0), UNKNOWN)
    return labels


def _dilate(mask: np.ndarray) -> np.ndarray:
    """Dilate each frame of a mask by one pixel on each side."""
    import cv2

    num_clips, num_frames, height, width = mask.shape
    wide = cv2.dilate(to_strip(mask), np.ones((3, 3)))
    return wide.reshape(num_clips, num_frames, height + 1, width)[:, :, :height] > 0


def _coverage(foreground: Foreground, colour: np.ndarray) -> np.ndarray:
    """Return each pixel's coverage by a colour, 0..255.

    It is the pixel's position on the line from the background to the colour. colour: (N,) indices
    of COLOURS.
    """
    background = foreground.background.astype(np.float32)
    way = np.array(list(COLOURS.values()), np.float32)[colour] - background  # (N, 3)
    way *= 255 / np.maximum(np.square(way).sum(axis=1, keepdims=True), 1)
    along = np.einsum("nthwc,nc->nthw", foreground.frames.astype(np.float32), way)
    return np.clip(along - (background * way).sum(axis=1)[:, None, None, None], 0, 255)
