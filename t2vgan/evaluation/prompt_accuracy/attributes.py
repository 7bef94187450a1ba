"""Classify the shape, colour, size and motion of tracked objects.

Colour is that of the pixels that the object covers, size is its area, and shape is determined by
the moments of its outline.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import numpy as np

from t2vgan.evaluation.prompt_accuracy.motion import NONE, classify_tracks, is_tracked
from t2vgan.evaluation.prompt_accuracy.object_paths import Track
from t2vgan.evaluation.prompt_accuracy.objects import Components, outline_moments

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "magenta": (255, 0, 255),
    "cyan": (0, 255, 255),
    "orange": (255, 128, 0),
    "black": (0, 0, 0),
}
MAX_COLOUR_DISTANCE = 110  # Euclidean, in grey levels; yellow and orange are 127 apart
SIZES = ("small", "large")
LARGE_RADIUS = 0.11  # radius of the disc of equal area, relative to the frame's shorter side
CORNERS = {"square": (45, 4), "triangle": (0, 3), "diamond": (0, 4)}
"""Shape -> angle of the first corner from "up" in degrees, number of corners."""
STAR_TIPS, STAR_WAIST = 5, 0.5
OUTLINE_SCALES = (0.1, 0.2, 0.2, 0.2)  # typical differences of moments between two shapes
SHAPES = ("circle", *CORNERS, "star")

Attributes = Mapping[str, str]
"""Attribute -> value of one object; empty if it was not found."""


def classify_objects(track: Track) -> list[list[Attributes]]:
    """Classify the attributes of the tracked objects of each of N clips.

    Rotation must be around the frame's centre if clips show one object, but may be around any point
    if they show several.
    """
    objects: list[list[Attributes]] = [[] for _ in track.is_single]
    for part in track.objects:
        values = classify_attributes(part, centred=not track.further)
        rows = (dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True))
        for clip, attributes, tracked in zip(objects, rows, is_tracked(part), strict=True):
            if tracked:
                clip.append(attributes)
    return objects


def match_objects(
    expected: Sequence[Mapping[str, str]], objects: Sequence[Attributes]
) -> list[Attributes]:
    """Match the objects of a clip to those that its prompt expects.

    A single expected object is matched to the tracked one; several are matched by colour. If there
    are more or fewer objects than expected, none is matched.
    """
    if len(objects) != len(expected):
        return [{} for _ in expected]
    if len(expected) == 1:
        return list(objects)
    return [
        next((found for found in objects if found.get("colour") == asked["colour"]), {})
        for asked in expected
    ]


def classify_attributes(track: Track, *, centred: bool) -> Mapping[str, Sequence[str]]:
    """Classify each attribute of N tracks; "none" for unknown values."""
    uncut = track.is_single & ~track.cut
    whole = np.where(uncut.any(axis=1, keepdims=True), uncut, track.is_single)  # else use cut ones
    tracked = is_tracked(track)

    def name(values: np.ndarray) -> list[str]:
        return np.where(tracked, values, NONE).tolist()

    return {
        "shape": name(_shapes(_median_over(track.outline, whole))),
        "colour": name(_colours(_median_over(track.core_colour, whole))),
        "size": name(_sizes(track, whole)),
        "motion": classify_tracks(track, centred=centred),
    }


def _shapes(outline: np.ndarray) -> np.ndarray:
    """Return the shapes with the ideal outlines nearest to moments (N, 4)."""
    names, ideal = zip(*ideal_outlines().items(), strict=True)
    distance = (outline[:, None] - np.array(ideal)) / OUTLINE_SCALES
    return np.array(names)[np.square(distance).sum(axis=-1).argmin(axis=1)]


def _colours(colour: np.ndarray) -> np.ndarray:
    """Return the nearest of COLOURS to each of (N, 3), or "none"."""
    distance = np.linalg.norm(colour[:, None] - np.array(list(COLOURS.values())), axis=-1)
    nearest = np.array(list(COLOURS))[distance.argmin(axis=1)]
    return np.where(distance.min(axis=1) <= MAX_COLOUR_DISTANCE, nearest, NONE)


def _sizes(track: Track, whole: np.ndarray) -> np.ndarray:
    """Classify the size of N objects by their geometric mean radius."""
    log_area = np.log(np.maximum(np.where(whole, track.coverage, 1), 1))
    mean = log_area.sum(axis=1) / np.maximum(whole.sum(axis=1), 1)
    radius = np.sqrt(np.exp(mean) / np.pi) / track.unit
    return np.where(radius >= LARGE_RADIUS, "large", "small")


def _median_over(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Return the median over valid frames of (N, T, M), or zeros."""
    shown = np.where(valid[..., None], values, np.nan)
    shown[~valid.any(axis=1)] = 0
    return np.nanmedian(shown, axis=1)


@cache
def ideal_outlines() -> dict[str, np.ndarray]:
    """Compute each shape's moments from a drawing of high resolution."""
    import cv2

    side, radius = 512, 200
    outlines = {}
    for name in SHAPES:
        image = np.zeros((side, side), np.uint8)
        cv2.fillPoly(image, [np.rint(side / 2 + radius * _corners(name)).astype(np.int32)], 1)
        components = Components(np.pad(image, ((0, 1), (0, 0))), side)
        outlines[name] = outline_moments(components, np.ones(len(components.x)))[0]
    return outlines


def _corners(name: str) -> np.ndarray:
    """Return a shape's corners (M, 2) within the unit circle; y downwards."""
    if name == "star":
        angle = np.arange(2 * STAR_TIPS) * np.pi / STAR_TIPS
        radius = np.where(np.arange(2 * STAR_TIPS) % 2, STAR_WAIST, 1)
    else:
        first, count = CORNERS.get(name, (0, 360))
        angle, radius = np.deg2rad(first) + np.arange(count) * 2 * np.pi / count, np.ones(count)
    return np.stack([radius * np.sin(angle), -radius * np.cos(angle)], axis=1)
