"""Make clips of source videos as packing does."""

from pathlib import Path

import av
import numpy as np
import pytest

from data_tools.videos.clips import RowTask, make_clips
from data_tools.videos.input_list.rows import Row
from data_tools.videos.settings import Access, ClipSettings, Limits, PackSettings, VideoError
from t2vgan.data.shards import Geometry, decode_sample
from tests.support.filming import Film

GEOMETRY = Geometry(num_frames=4, height=32, width=32)
CLIPS = {
    "geometry": GEOMETRY,
    "fps": 5.0,
    "clips_per_video": 1,
    "stride": 0.8,
    "fit": "crop",
    "storage": "strip-webp",
    "quality": 90,
    "min_motion": 0.0,
    "drop_duplicates": False,
    "max_prompt_words": 64,
    "seed": 0,
}
LOSSLESS = Film("ffv1", "bgra", options={})


def clips_of(path: Path, limits: Limits = Limits(), **changes) -> list[np.ndarray]:  # noqa: B008
    settings = PackSettings(ClipSettings(**{**CLIPS, **changes}), Access(str(path.parent)), limits)
    samples = make_clips(RowTask(7, Row(path.name, "a test film")), settings)
    return [decode_sample(sample, settings.clips.geometry)[0] for sample in samples]


def reason_of(path: Path, limits: Limits = Limits(), **changes) -> str:  # noqa: B008
    with pytest.raises((VideoError, av.FFmpegError)) as error:
        clips_of(path, limits, **changes)
    return getattr(error.value, "reason", "decode")


def quarters(height: int = 64, width: int = 64) -> np.ndarray:
    """Red top left, green top right, blue bottom left, white bottom right."""
    picture = np.zeros((height, width, 3), np.uint8)
    middle, centre = height // 2, width // 2
    picture[:middle, :centre] = (255, 0, 0)
    picture[:middle, centre:] = (0, 255, 0)
    picture[middle:, :centre] = (0, 0, 255)
    picture[middle:, centre:] = 255
    return picture


def corners(frame: np.ndarray) -> list[list[int]]:
    height, width = frame.shape[:2]
    places = [(8, 8), (8, width - 8), (height - 8, 8), (height - 8, width - 8)]
    return [(frame[place] > 127).astype(int).tolist() for place in places]


RED, GREEN, BLUE, WHITE = [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]
ORIENTATIONS = {
    (0, False): [RED, GREEN, BLUE, WHITE],
    (90, False): [GREEN, WHITE, RED, BLUE],  # counterclockwise
    (180, False): [WHITE, BLUE, GREEN, RED],
    (270, False): [BLUE, RED, WHITE, GREEN],
    (0, True): [GREEN, RED, WHITE, BLUE],
    (90, True): [WHITE, GREEN, BLUE, RED],  # transposed along the other diagonal
    (180, True): [BLUE, WHITE, RED, GREEN],  # upside down
    (270, True): [RED, BLUE, GREEN, WHITE],  # transposed
}
