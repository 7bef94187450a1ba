"""Track the largest object of a clip from its pixels.

Its position, size, colour and outline are measured in each frame, independently of the clip's
origin. The background is assumed to be nearly uniform (the clip's median colour); pixels that
clearly differ from it belong to objects.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from t2vgan.evaluation.prompt_accuracy.objects import largest_objects

OBJECT_CONTRAST = 96  # difference from the background in at least one channel, of 255
CLIPS_AT_ONCE = 16  # keeps all intermediate arrays in the CPU's cache
BACKGROUND_STRIDE = 8  # every 8th pixel in y and x is enough to estimate the background


@dataclass(frozen=True, slots=True)
class Track:
    """One object of each of N clips through T frames.

    `x`, `y` (pixels, with pixel centres at integers), `area` (pixels), `colour` (0..255), `centre`,
    `coverage`, `core_colour` and `outline` are NaN in frames without an object. `further` has the
    tracks of the clips' other objects.
    """

    x: np.ndarray  # (N, T)
    y: np.ndarray  # (N, T)
    area: np.ndarray  # (N, T)
    colour: np.ndarray  # (N, T, 3)
    centre: np.ndarray  # (N, T, 2) x, y weighted by coverage: steadier than whole pixels
    coverage: np.ndarray  # (N, T) area in pixels, with those of the soft edge counted in part
    core_colour: np.ndarray  # (N, T, 3) colour of the pixels that the object covers
    outline: np.ndarray  # (N, T, 4) moments that distinguish shapes, see objects.OUTLINE
    num_objects: np.ndarray  # (N, T) int; an object too spread out to be single counts as two
    cut: np.ndarray  # (N, T) bool: the object touches the frame's edge
    flicker: np.ndarray  # (N,) mean change of the background between frames, grey levels
    height: int
    width: int
    further: tuple["Track", ...] = ()  # one for each further object that clips may show

    @property
    def objects(self) -> tuple["Track", ...]:
        """Return the tracks of all objects."""
        return (replace(self, further=()), *self.further)

    @property
    def is_single(self) -> np.ndarray:
        """Return whether a frame holds exactly one object, (N, T) bool."""
        return self.num_objects == 1

    @property
    def unit(self) -> int:
        """Return the frame's shorter side, to which thresholds are relative."""
        return min(self.height, self.width)

    def reorder_frames(self, order: np.ndarray) -> "Track":
        """Reorder the frames of each clip by indices (N, T)."""
        rows = np.arange(len(order))[:, None]
        return self._change(lambda name, array: array if name == "flicker" else array[rows, order])

    def select(self, clips: np.ndarray) -> "Track":
        """Select clips by a mask (N,) bool or by indices."""
        return self._change(lambda name, array: array[clips])

    def _change(self, change: Callable[[str, np.ndarray], np.ndarray]) -> "Track":
        arrays = {name: change(name, getattr(self, name)) for name in ARRAYS}
        further = tuple(part._change(change) for part in self.further)
        return replace(self, further=further, **arrays)  # type: ignore[arg-type]  # all arrays


ARRAYS = tuple(f.name for f in fields(Track) if f.name not in ("height", "width", "further"))


def track(frames: np.ndarray) -> Track:
    """Track the largest object of clips (N, T, H, W, 3) uint8."""
    return track_in_chunks(_track_chunk, frames)


def track_in_chunks(track_chunk: Callable[[np.ndarray], Track], frames: np.ndarray) -> Track:
    """Track frames (N, T, H, W, 3), a few clips at once."""
    if frames.ndim != 5 or frames.shape[-1] != 3 or frames.dtype != np.uint8 or 0 in frames.shape:
        raise ValueError(f"frames must be uint8 (N, T, H, W, 3), not {frames.dtype} {frames.shape}")
    return concat_tracks([track_chunk(chunk) for chunk in _chunks(frames)])


def concat_tracks(tracks: Sequence[Track]) -> Track:
    """Concatenate the tracks of several batches of clips of one geometry."""
    arrays = {name: np.concatenate([getattr(part, name) for part in tracks]) for name in ARRAYS}
    further = tuple(map(concat_tracks, zip(*(part.further for part in tracks), strict=True)))
    return replace(tracks[0], further=further, **arrays)  # type: ignore[arg-type]  # all arrays


def _chunks(frames: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(frames), CLIPS_AT_ONCE):
        yield frames[start : start + CLIPS_AT_ONCE]


def _track_chunk(frames: np.ndarray) -> Track:
    foreground = Foreground.from_frames(frames)
    return foreground.track(foreground.contrast, foreground.mask)


@dataclass(frozen=True, slots=True)
class Foreground:
    """The pixels of all objects in a few clips."""

    frames: np.ndarray  # (N, T, H, W, 3) uint8
    background: np.ndarray  # (N, 3) the clip's median colour
    contrast: np.ndarray  # (N, T, H, W) uint8, difference from the background
    mask: np.ndarray  # (N, T, H, W) bool, pixels of objects
    flicker: np.ndarray  # (N,)

    @classmethod
    def from_frames(cls, frames: np.ndarray) -> "Foreground":
        """Separate objects from the background."""
        sparse = frames[:, :, ::BACKGROUND_STRIDE, ::BACKGROUND_STRIDE]  # (N, T, h, w, 3)
        background = _median(sparse.reshape(len(frames), -1, 3))
        contrast = _contrast(frames, background)
        mask = contrast >= OBJECT_CONTRAST
        flicker = _flicker(sparse, mask[:, :, ::BACKGROUND_STRIDE, ::BACKGROUND_STRIDE])
        return cls(frames, background, contrast, mask, flicker)

    def track(self, contrast: np.ndarray, mask: np.ndarray) -> Track:
        """Track the largest object of a mask, with soft edges by contrast."""
        num_clips, num_frames, height, width, _ = self.frames.shape
        objects = largest_objects(self.frames, contrast, mask)
        per_frame: dict[str, Any] = {
            name: values.reshape(num_clips, num_frames, *values.shape[1:])
            for name, values in objects.items()
        }
        return Track(**per_frame, flicker=self.flicker, height=height, width=width)


def _median(values: np.ndarray) -> np.ndarray:
    """Return the lower median over axis 1 of uint8 (N, M, 3)."""
    middle = (values.shape[1] - 1) // 2
    return np.partition(values.swapaxes(1, 2), middle, axis=2)[:, :, middle]


def _contrast(frames: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Return each pixel's difference from the background, maximal over channels."""
    num_clips, num_frames, height, width, _ = frames.shape
    rows = frames.reshape(num_clips, num_frames * height, width * 3)
    background = np.tile(background, width)[:, None]  # whole rows: short axes are slow in NumPy
    distance = np.maximum(rows, background)
    distance -= np.minimum(rows, background)
    contrast = np.maximum(distance[..., 0::3], distance[..., 1::3])
    return np.maximum(contrast, distance[..., 2::3], out=contrast).reshape(frames.shape[:-1])


def _flicker(sparse: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the background's mean absolute change between frames, (N,)."""
    change = np.abs(np.diff(sparse.astype(np.float32), axis=1))
    still = ~(mask[:, 1:] | mask[:, :-1])
    num_values = np.maximum(3 * np.count_nonzero(still, axis=(1, 2, 3)), 1)
    return np.einsum("nthwc,nthw->n", change, still.astype(np.float32)) / num_values
