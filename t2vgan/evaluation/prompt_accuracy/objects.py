"""Label the connected components of masks and compute their moments.

All frames are labelled in one call, as a strip with an empty row between frames; after that only
object pixels, about one in forty, are processed.
"""

from functools import cached_property

import numpy as np

MIN_OBJECT_AREA = 0.002  # of min(H, W)^2: 8 pixels at 64x64; anything smaller is a speck
MAX_SPREAD = 1.23  # disc 1, square 1.05, star 1.18, triangle 1.21; two discs that touch 1.3 to 1.5
ROUGHNESS = 3.0  # divided by the area in pixels, the spread that a small object's outline may add
CORE_COVERAGE = 0.75  # pixels with at least this coverage show the object's own colour
BLUR = 1 / 6  # mean square distance from the centre within a pixel of side 1

OUTLINE = ("spread", "threefold", "fourfold", "fivefold")
"""Moments that distinguish outlines, all independent of size: the mean square distance from the
centre relative to the disc of equal area, and Re mean(z^n) / mean(|z|^2)^(n/2) for n of 3, 4 and 5,
where z is a pixel's position relative to the centre, with "up" as the real axis."""


class Components:
    """Connected components of a strip of frames, and sums over their pixels."""

    def __init__(self, labels: np.ndarray, height: int) -> None:
        """Index labels 1..K of a strip (F * (height + 1), W)."""
        width = labels.shape[1]
        pixels = np.flatnonzero(labels)
        self.num_components = int(labels.max(initial=0))
        self.label = labels.reshape(-1)[pixels].astype(np.int64) - 1
        self.frame, in_frame = np.divmod(pixels, (height + 1) * width)
        self.y, self.x = np.divmod(in_frame, width)
        self.index = (self.frame * height + self.y) * width + self.x
        """Index of each pixel in frames without the empty rows."""
        self.frame_of = np.zeros(self.num_components, np.int64)
        self.frame_of[self.label] = self.frame
        self._least = MIN_OBJECT_AREA * min(height, width) ** 2

    def total(self, values: np.ndarray | None = None) -> np.ndarray:
        """Sum values (P,), or ones, over the pixels of each component: (K,)."""
        return np.bincount(self.label, values, minlength=self.num_components).astype(float)

    def mean(self, values: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Return the weighted mean of values (P,) over each component, (K,)."""
        if weights is None:
            return self.total(values) / self.size
        return self.total(values * weights) / np.maximum(self.total(weights), 1e-9)

    @cached_property
    def size(self) -> np.ndarray:
        """Return the number of pixels of each component, (K,)."""
        return self.total()

    @property
    def is_object(self) -> np.ndarray:
        """Return which components are large enough for objects, (K,) bool."""
        return self.size >= self._least


def largest_objects(
    frames: np.ndarray, contrast: np.ndarray, mask: np.ndarray
) -> dict[str, np.ndarray]:
    """Measure the largest object of each frame.

    frames (N, T, H, W, 3), contrast with the background (N, T, H, W), mask of objects (N, T, H, W)
    -> the per-frame fields of Track, each (N * T, ...).
    """
    import cv2  # late, so that `--help` and the trainer's start need not wait for it

    height, width = mask.shape[-2:]
    labels = label_components(mask)
    wider = cv2.dilate(labels.astype(np.float32), np.ones((3, 3)))
    wider.reshape(-1, height + 1, width)[:, height] = 0  # the empty rows stay empty
    components, fields = measure_components(frames, contrast, labels, wider)
    num_frames = mask.shape[0] * mask.shape[1]
    spread_out = (fields["spread"] > MAX_SPREAD + ROUGHNESS / components.size) & ~fields["cut"]
    counts = (1 + spread_out) * components.is_object
    num_objects = np.bincount(components.frame_of, counts, minlength=num_frames).astype(np.int64)
    by_area = np.argsort(components.size, kind="stable")
    largest = np.full(num_frames, -1)
    largest[components.frame_of[by_area]] = by_area  # the last assignment, the largest, stays
    chosen = np.where(num_objects > 0, largest, -1)
    return {**pick_components(fields, chosen), "num_objects": num_objects}


def label_components(mask: np.ndarray) -> np.ndarray:
    """Label the connected components of a mask (N, T, H, W).

    Returns a strip (N * T * (H + 1), W).
    """
    import cv2

    return cv2.connectedComponents(to_strip(mask))[1]


def to_strip(mask: np.ndarray) -> np.ndarray:
    """Join the frames of a mask, with an empty row after each.

    Mask (N, T, H, W) -> strip (N * T * (H + 1), W) uint8.
    """
    padded = np.pad(mask.astype(np.uint8), ((0, 0), (0, 0), (0, 1), (0, 0)))
    return padded.reshape(-1, mask.shape[-1])


def measure_components(
    frames: np.ndarray, contrast: np.ndarray, labels: np.ndarray, wider: np.ndarray
) -> tuple[Components, dict[str, np.ndarray]]:
    """Measure the components of a strip of labels, (K, ...).

    `wider` has the labels including soft edges. The fields are those of Track, and "spread", the
    mean square distance relative to that of the disc of equal area.
    """
    height, width = frames.shape[2:4]
    components = Components(labels, height)
    colour = frames.reshape(-1, 3).take(components.index, axis=0)
    centre_x, centre_y = components.mean(components.x), components.mean(components.y)
    at_edge = np.isin(components.x, (0, width - 1)) | np.isin(components.y, (0, height - 1))
    distance = components.mean(components.x**2 + components.y**2) - centre_x**2 - centre_y**2 + BLUR
    return components, {
        "x": centre_x,
        "y": centre_y,
        "area": components.size,
        "colour": np.stack([components.mean(c) for c in colour.T], axis=1),
        "cut": components.total(at_edge) > 0,
        "spread": 2 * np.pi * distance / components.size,
        **_soft_fields(frames, contrast, wider),
    }


def pick_components(fields: dict[str, np.ndarray], chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Return Track's fields for the chosen components (F,); -1 means none."""

    def pick(values: np.ndarray) -> np.ndarray:
        missing = np.full((1, *values.shape[1:]), np.nan)
        return np.concatenate([values, missing])[chosen]

    picked = {name: pick(values) for name, values in fields.items() if name != "spread"}
    picked["cut"] = picked["cut"] == 1
    return picked


def _soft_fields(
    frames: np.ndarray, contrast: np.ndarray, labels: np.ndarray
) -> dict[str, np.ndarray]:
    """Measure objects with soft edges, weighting pixels by coverage."""
    height = frames.shape[2]
    components = Components(labels, height)
    seen = contrast.reshape(-1)[components.index].astype(float)
    peak = np.ones(len(labels) // (height + 1))
    np.maximum.at(peak, components.frame, seen)
    coverage = seen / peak[components.frame]
    colour = frames.reshape(-1, 3).take(components.index, axis=0)
    core = (coverage >= CORE_COVERAGE).astype(float)
    centre = [components.mean(axis, coverage) for axis in (components.x, components.y)]
    return {
        "centre": np.stack(centre, axis=1),
        "coverage": components.total(coverage),
        "core_colour": np.stack([components.mean(c, core) for c in colour.T], axis=1),
        "outline": outline_moments(components, coverage),
    }


def outline_moments(components: Components, coverage: np.ndarray) -> np.ndarray:
    """Return the moments of OUTLINE for every component, (K, 4)."""
    up = components.mean(components.y, coverage)[components.label] - components.y
    right = components.x - components.mean(components.x, coverage)[components.label]
    z = up + 1j * right
    square = np.maximum(components.mean(np.abs(z) ** 2, coverage) - BLUR, BLUR)
    spread = 2 * np.pi * square / np.maximum(components.total(coverage), 1)
    folds = [components.mean((z**n).real, coverage) / square ** (n / 2) for n in (3, 4, 5)]
    return np.stack([spread, *folds], axis=1)
