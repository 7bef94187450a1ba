"""Turn one row into clips, in the sandbox's child process."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import JsonValue

from t2vgan.data.shards import EncodedSample, encode_sample
from t2vgan.media.cropping import Cropping, read_cropping
from t2vgan.media.frames import picture_of, transfer_of
from t2vgan.media.hdr import to_standard_range
from t2vgan.utils.seeds import random_generator

from .decoding import cut_clips, open_video, pixel_aspect_of, shown_frames
from .fitting import fit_picture
from .input_list.locations import may_be_private, open_bytes, resolve
from .input_list.rows import Row
from .judging import motion_of, perceptual_hash
from .keys import sample_key
from .prompts import choose_captions
from .settings import ClipSettings, PackSettings, VideoError

if TYPE_CHECKING:
    import av


@dataclass(frozen=True)
class RowTask:
    """A row and its number in the input list."""

    number: int
    row: Row


def make_clips(task: RowTask, settings: PackSettings) -> Iterator[EncodedSample]:
    """Yield a row's clips as they are cut.

    VideoError, or whatever the decoder raises, may come after any number of clips.
    """
    row, limits = task.row, settings.limits
    if row.problem and row.problem_kind != "prompt":
        raise VideoError(row.problem_kind, row.problem)
    captions = choose_captions(row, settings.clips)
    location = resolve(row.path, settings.access)
    max_bytes = limits.max_file_mb << 20
    num_clips = 0
    with (
        open_bytes(
            location,
            offset=row.offset,
            size=row.size,
            max_bytes=max_bytes,
            private_hosts=may_be_private(location, settings.access),
        ) as file,
        open_video(file, limits) as (container, stream),
    ):
        converter = FrameConverter(task.number, settings.clips, stream, read_cropping(stream))
        shown = shown_frames(file, container, stream, limits)
        for clip, frames in cut_clips(shown, settings.clips, converter.convert):
            num_clips += 1
            yield encode_clip(task, clip, frames, captions, settings.clips)
    if not num_clips:
        raise VideoError(
            "short",
            f"shorter than a clip of {settings.clips.geometry.num_frames} frames at "
            f"{settings.clips.fps:g} frames/s",
        )


@dataclass
class FrameConverter:
    """Convert frames to a clip's size, reusing the last picture."""

    number: int
    settings: ClipSettings
    stream: "av.VideoStream"
    cropping: Cropping
    last: "tuple[av.VideoFrame, np.ndarray] | None" = None

    def convert(self, frame: "av.VideoFrame", clip: int) -> np.ndarray:
        """Return a frame at the clip's size, (H, W, 3) uint8."""
        if self.last is None or self.last[0] is not frame:
            self.last = frame, picture_of(frame, self.cropping)
        picture = fit_picture(
            self.last[1],
            self.settings.geometry,
            self.settings.fit,
            pixel_aspect=pixel_aspect_of(self.stream, frame),
            place=self._place(clip),
        )
        if picture.dtype == np.uint8:
            return picture
        return to_standard_range(picture, transfer_of(frame))

    def _place(self, clip: int) -> tuple[float, float]:
        if self.settings.fit != "random-crop":
            return 0.5, 0.5
        down, right = random_generator(self.settings.seed, "crop", self.number, clip).random(2)
        return float(down), float(right)


def encode_clip(
    task: RowTask,
    clip: int,
    frames: np.ndarray,
    captions: Sequence[str],
    settings: ClipSettings,
) -> EncodedSample:
    """Encode a clip with metadata about its source and content."""
    metadata: dict[str, JsonValue] = {
        **settings.geometry.model_dump(),
        "fps": settings.fps,
        "source": task.row.source,
        "start_seconds": float(clip * settings.clip_step),
        "motion": round(motion_of(frames), 3),
        "perceptual_hash": perceptual_hash(frames),
    }
    if task.row.label:
        metadata["label"] = task.row.label
    return encode_sample(
        sample_key(task.number, clip),
        frames,
        captions,
        metadata,
        storage=settings.storage,
        quality=settings.quality,
    )
