"""Check command-line options that several commands share."""

import re
import signal
import sys
from typing import TYPE_CHECKING

from t2vgan.errors import UserError

if TYPE_CHECKING:
    from t2vgan.data.shards import Geometry, Storage


def exit_on_sigterm() -> None:
    """Exit with code 143 on SIGTERM, so that cleanup runs."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))


def check_at_least(minimum: float, options: object, *names: str) -> None:
    """Raise UserError for the first named option below `minimum`."""
    for name in names:
        if not (value := getattr(options, name)) >= minimum:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be at least {minimum:g}")


def parse_size(size: str, num_frames: int, storage: "Storage" = "strip-webp") -> "Geometry":
    """Parse HxW; raise UserError for a clip or strip too large."""
    match = re.fullmatch(r"([1-9]\d{0,4})[xX]([1-9]\d{0,4})", size)
    if not match:
        raise UserError(f"--size {size}: must be HEIGHTxWIDTH in pixels, such as 64x64")
    from t2vgan.data.film_strip import MAX_JPEG_SIDE, MAX_WEBP_SIDE
    from t2vgan.data.shards import Geometry
    from t2vgan.utils.frozen import naming_faults

    height, width = map(int, match.groups())
    sides = {"strip-webp": ("WebP", MAX_WEBP_SIDE), "strip-jpg": ("JPEG", MAX_JPEG_SIDE)}
    format, limit = sides.get(storage, ("", None))
    if limit is not None and max(num_frames * height, width) > limit:
        raise UserError(
            f"--num-frames {num_frames} --size {size}: a film strip of {num_frames} * {height} = "
            f"{num_frames * height} rows and {width} columns; "
            f"{format} holds at most {limit} of each"
        )
    with naming_faults(f"--num-frames {num_frames} --size {size}"):
        return Geometry(num_frames=num_frames, height=height, width=width)
