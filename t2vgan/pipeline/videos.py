"""Hold generated videos; convert, resize and save them."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from t2vgan.checkpoint.weights import WeightsInfo
from t2vgan.errors import UserError
from t2vgan.media import save_clip
from t2vgan.media.resize import Resample, choose_size, resize_frames
from t2vgan.utils.drawing_limits import check_drawing
from t2vgan.video import to_video

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_CALL_PIXELS = 2**30  # limit of one call: 3 GB of frames

Output = Literal["numpy", "pil", "torch"]


@dataclass(frozen=True, eq=False, repr=False)
class Videos:
    """Videos of one size."""

    frames: np.ndarray
    """(N, T, H, W, 3) uint8."""
    prompts: tuple[str, ...]
    """The prompt of each video."""
    fps: float
    """Frames per second of the training data."""
    output: Output = "numpy"
    """The format that `videos` returns."""

    @property
    def videos(self) -> Any:
        """The videos in the format `output`: `numpy`, `pil` or `torch`."""
        return getattr(self, self.output)

    @property
    def numpy(self) -> np.ndarray:
        """Frames (N, T, H, W, 3) uint8."""
        return self.frames

    @property
    def pil(self) -> "list[list[Image]]":
        """A list of images for each video."""
        from PIL import Image

        return [[Image.fromarray(picture) for picture in clip] for clip in self.frames]

    @property
    def torch(self) -> Tensor:
        """Video (N, 3, T, H, W), float32 in [-1, 1]."""
        return to_video(torch.from_numpy(self.frames))

    def __repr__(self) -> str:
        num_frames, height, width = self.frames.shape[1:4]
        return (
            f"<Videos: {len(self)} of {num_frames} frames of {height}x{width} "
            f"at {self.fps:g} frames/s>"
        )

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> np.ndarray:
        """Return the frames of one video, (T, H, W, 3) uint8."""
        return self.frames[index]

    def __iter__(self) -> Iterator[np.ndarray]:
        """Iterate over the frames of each video, (T, H, W, 3) uint8."""
        return iter(self.frames)

    def resize(
        self,
        *,
        scale: int | None = None,
        height: int | None = None,
        resample: Resample = "lanczos",
    ) -> "Videos":
        """Return resized videos: scaled by `scale`, or to `height` pixels.

        Raises:
            UserError: a number is out of range, or `resample` is neither lanczos nor nearest.
        """
        num_frames, old_height, old_width = self.frames.shape[1:4]
        size = choose_size(old_height, old_width, num_frames, scale=scale, new_height=height)
        frames = np.stack([resize_frames(clip, size, resample=resample) for clip in self.frames])
        return replace(self, frames=frames)

    def save(self, path: Path | str, *, fps: float | None = None) -> list[Path]:
        """Save the videos; return the paths.

        path: ends with .gif, .mp4, .avi, .webp or .png. One video is saved there; several are saved
        with numbers: a-0.mp4, a-1.mp4, ...

        Raises:
            UserError: the suffix is not supported, or fps is out of range.
            OSError: writing failed.
        """
        path = Path(path)
        paths = [path.with_stem(f"{path.stem}-{number}") for number in range(len(self))]
        paths = paths if len(self) > 1 else [path]
        for file, clip in zip(paths, self.frames, strict=True):
            save_clip(file, clip, fps=self.fps if fps is None else fps)
        return paths


def check_call(
    info: WeightsInfo,
    num_prompts: int,
    num_videos: int,
    seed: int,
    num_frames: int | None,
    truncation: float,
    output: str,
) -> None:
    """Raise UserError if arguments are out of range, or videos too many."""
    check_output(output)
    check_drawing(num_videos=num_videos, seed=seed, num_frames=num_frames, truncation=truncation)
    num_pixels = (num_frames or info.num_frames) * info.height * info.width
    check_total(num_prompts * num_videos, num_pixels)


def check_total(num_videos: int, num_pixels: int) -> None:
    """Raise UserError for more videos than one call may return."""
    limit = max(1, MAX_CALL_PIXELS // num_pixels)
    if num_videos > limit:
        raise UserError(
            f"{num_videos:,} videos are too many for one call, which returns at most {limit:,} of"
            " this size; divide them over several calls, or use generate.py"
        )


def check_output(output: str) -> None:
    """Raise UserError unless videos can be returned in this format."""
    if output not in get_args(Output):
        raise UserError(f"output={output!r} must be one of {', '.join(get_args(Output))}")
