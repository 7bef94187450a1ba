"""Read a run's film strips and compress them for the page.

A film strip has one row per clip, with the frames side by side. Each picture is in the page once.
Each cell of a sheet shows one frame of one row, and a CSS animation steps along the row. All cells
share one clock, so they play in sync, unlike separate animated pictures.
"""

import base64
import hashlib
import io
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from t2vgan.report.formatting import shorten
from t2vgan.report.records import Run
from t2vgan.utils.records import Record, get_number, get_text, get_texts
from t2vgan.utils.sequences import number_repeats

if TYPE_CHECKING:
    from PIL import Image

MAX_PICTURE_BYTES = 750_000  # nine of these in base64 make a page of 9 MB
MAX_PIXELS = 2**28  # reading them takes a gigabyte
LOSSLESS = {"lossless": True, "method": 2, "quality": 50}
QUALITIES = (85, 60, 30, 5)  # tried in turn if lossless compression is too large
DEFAULT_FPS = 10


@dataclass(frozen=True)
class StripRow:
    """One clip of a picture: its prompt and its number."""

    prompt: str
    occurrence: int = 0


@dataclass(frozen=True)
class Clip:
    """A cell of a contact sheet, playing one row of a picture."""

    css_class: str
    position: float  # of the row in the picture, in percent from the top
    title: str


@dataclass(frozen=True)
class FilmStrips:
    """Some rows of a run's picture, encoded for the page."""

    name: str  # the CSS class of its cells
    record: Record
    rows: Sequence[StripRow]  # top to bottom
    num_frames: int
    height: int
    width: int
    seconds: float  # of a loop
    picture: str  # WebP in base64

    def clip(self, row: StripRow, remark: str) -> Clip | None:
        """Return the cell of a row; None if the picture lacks it."""
        if row not in self.rows:
            return None
        position = 100 * self.rows.index(row) / max(len(self.rows) - 1, 1)
        return Clip(self.name, position, f"{shorten(row.prompt)}, {remark}")


def read_strips(
    run: Run, record: Record, name: str, prompts: Collection[str], problems: list[str]
) -> FilmStrips | None:
    """Read the clips of `prompts` from the picture that a record names.

    Return None and add to `problems` if the picture is missing, damaged or not the run's.
    """
    path = picture_path(run, record)
    if path is None:
        return None
    try:
        return _read(record, path, name, prompts)
    except (OSError, ValueError, SyntaxError) as error:  # SyntaxError is Pillow's for a broken PNG
        problems.append(f"{record['kind']} of step {record['step']}: {error}")
        return None


def picture_path(run: Run, record: Record) -> Path | None:
    """Return the path of a record's picture, or None.

    Only files in the run's own folder are read.
    """
    folder = run.folder.resolve()
    try:
        path = (folder / str(record.get("file") or "")).resolve()
        return path if path.is_relative_to(folder) and path.is_file() else None
    except (OSError, ValueError):
        return None


def _read(record: Record, path: Path, name: str, prompts: Collection[str]) -> FilmStrips:
    """Check a record against its picture and read it.

    Raises:
        ValueError, OSError, SyntaxError: the picture cannot be shown, with the reason.
    """
    from PIL import Image  # not needed by runs without samples

    listed = get_texts(record, "prompts")
    num_frames, height, width = (
        int(get_number(record, key) or 0) for key in ("num_frames", "height", "width")
    )
    if not listed or min(num_frames, height, width) < 1:
        raise ValueError("the record lacks prompts, num_frames, height or width")
    expected = (num_frames * width, len(listed) * height)
    if expected[0] * expected[1] > MAX_PIXELS:
        raise ValueError(f"a picture of {expected} is too large for the page")
    checksum = get_text(record, "sha256")
    if checksum and hashlib.sha256(path.read_bytes()).hexdigest() != checksum:
        raise ValueError(f"{path.name} is not the picture that was made with this record")
    with _unlimited_size(), Image.open(path, formats=["WEBP", "PNG"]) as image:
        if image.size != expected:
            raise ValueError(f"the picture is {image.size}, its record says {expected}")
        chosen = [index for index, prompt in enumerate(listed) if prompt in prompts]
        if not chosen:
            raise ValueError("shows none of the prompts of the last samples")
        picture = _encode(_crop_rows(image, chosen, height))
    shown = [listed[index] for index in chosen]
    rows = list(map(StripRow, shown, number_repeats(shown)))
    seconds = num_frames / (get_number(record, "fps") or DEFAULT_FPS)
    encoded = base64.b64encode(picture).decode("ascii")
    return FilmStrips(name, record, rows, num_frames, height, width, seconds, encoded)


@contextmanager
def _unlimited_size() -> Iterator[None]:
    """Lift Pillow's limit on pixels, which long clips exceed.

    The size is compared with the record before anything is decoded.
    """
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _crop_rows(image: "Image.Image", chosen: Sequence[int], height: int) -> "Image.Image":
    """Return an RGB picture of the chosen rows, each `height` pixels high."""
    from PIL import Image

    picture = Image.new("RGB", (image.width, len(chosen) * height))
    for place, index in enumerate(chosen):
        row = image.crop((0, index * height, image.width, (index + 1) * height))
        picture.paste(row, (0, place * height))
    return picture


def _encode(picture: "Image.Image") -> bytes:
    """Encode a picture as WebP, losslessly if that is small enough.

    Raises:
        ValueError: the picture is too large even at the lowest quality.
    """
    for options in (LOSSLESS, *({"quality": quality} for quality in QUALITIES)):
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", **options)
        if buffer.tell() <= MAX_PICTURE_BYTES:
            return buffer.getvalue()
    raise ValueError(f"the picture, {picture.size}, is too large for the page")
