"""Define the settings of clips, and limits on making them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from fractions import Fraction
from typing import Literal

from pydantic import JsonValue

from t2vgan.data.shards import Geometry, Storage

Fit = Literal["crop", "random-crop", "pad"]
Captions = Literal["required", "optional", "none"]


class VideoError(Exception):
    """A failed row or clip; `reason` is one word for the summary."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class ClipSettings:
    """How videos become clips; with the rows, they determine the bytes."""

    geometry: Geometry
    fps: float
    clips_per_video: int
    """0 cuts all that fit."""
    stride: float
    """Seconds between the starts of consecutive clips."""
    fit: Fit
    storage: Storage
    quality: int
    min_motion: float
    drop_duplicates: bool
    max_prompt_words: int
    seed: int
    captions: Captions = "required"
    """Whether a row without a caption fails, and whether captions are used at all."""

    @property
    def frame_step(self) -> Fraction:
        """Exact seconds between two frames of a clip: 29.97 frames/s is 2997/100."""
        return 1 / Fraction(self.fps).limit_denominator(1001)

    @property
    def clip_step(self) -> Fraction:
        """Exact seconds between the starts of consecutive clips."""
        return Fraction(self.stride).limit_denominator(100_000)

    def as_config(self) -> dict[str, JsonValue]:
        """Return the settings, keyed by their names on the command line."""
        geometry = self.geometry
        others = {name: value for name, value in asdict(self).items() if name != "geometry"}
        if self.captions == "required":  # as in versions without the option
            del others["captions"]
        return {
            "num_frames": geometry.num_frames,
            "size": f"{geometry.height}x{geometry.width}",
            **others,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, JsonValue], geometry: Geometry) -> "ClipSettings":
        """Return the settings from a dict like that of `as_config`."""
        names = [field.name for field in fields(cls) if field.name != "geometry"]
        given = {name: config[name] for name in names if name in config}
        return cls(geometry, **given)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Limits:
    """Limits for one row; rows that exceed them can be retried."""

    timeout_seconds: float = 120.0
    memory_mb: int = 2048
    max_pixels: int = 8192 * 4320
    max_seconds: float = 4 * 3600.0
    max_file_mb: int = 1024


@dataclass(frozen=True)
class Access:
    """The locations that rows may point to."""

    root: str
    """The folder or URL to which paths are relative."""
    allow_local: bool = False
    allow_private_hosts: bool = False


@dataclass(frozen=True)
class PackSettings:
    """Everything that a process needs to turn one row into clips."""

    clips: ClipSettings
    access: Access
    limits: Limits = field(default_factory=Limits)
