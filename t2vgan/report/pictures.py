"""Film-strip pictures of a run, made light enough for the page: one row a clip, frames abreast.

A picture goes into the page once. Each cell of a sheet shows one frame of one row, and a CSS
animation steps along the row. All cells share the page's one clock, so they move in step, which
separate animated pictures do not.
"""

import base64
import hashlib
import io
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from t2vgan.report.html import Markup, shorten, tag
from t2vgan.report.records import Record, Run, number, text, texts

if TYPE_CHECKING:
    from PIL import Image

MAX_PICTURE_BYTES = 750_000  # 9 of these in base64 are 9 MB of page
MAX_PIXELS = 2**28  # a gigabyte while it is read
LOSSLESS = {"lossless": True, "method": 2, "quality": 50}
QUALITIES = (85, 60, 30, 5)  # tried in turn where a picture is too heavy without loss
DEFAULT_FPS = 10


@dataclass(frozen=True)
class Row:
    """One clip of a picture: a prompt, and which of its clips where it has several."""

    prompt: str
    occurrence: int = 0


@dataclass(frozen=True)
class Strips:
    """Some rows of a run's picture, ready for the page."""

    name: str  # of the CSS class that its cells share
    record: Record
    rows: Sequence[Row]  # top to bottom
    picture: bytes  # WebP

    def rule(self) -> Markup:
        """Return the CSS rule of the cells."""
        picture = base64.b64encode(self.picture).decode("ascii")
        frames, fps = int(self.record["num_frames"]), number(self.record, "fps") or DEFAULT_FPS
        # jump-none: the first frame at 0 %, the last at 100 %, each shown for 1/frames of a loop.
        motion = f"film {frames / fps:.3f}s steps({frames}, jump-none) infinite"
        return Markup(
            f".{self.name}{{background-image:url(data:image/webp;base64,{picture});"
            f"background-size:{frames * 100}% {len(self.rows) * 100}%;"
            f"aspect-ratio:{int(self.record['width'])}/{int(self.record['height'])};"
            f"{f'animation:{motion}' if frames > 1 else ''}}}\n"
        )

    def cell(self, row: Row, remark: str) -> Markup:
        """Render one moving clip, or an empty place where the picture lacks it."""
        if row not in self.rows:
            return tag("i")
        at = 100 * self.rows.index(row) / max(len(self.rows) - 1, 1)
        hint = f"{shorten(row.prompt)}, {remark}"
        return tag(
            "i",
            class_=f"clip {self.name}",
            style=f"background-position-y:{at:.4f}%",
            role="img",
            title=hint,
        )


def read_strips(
    run: Run, record: Record, name: str, prompts: Collection[str], problems: list[str]
) -> Strips | None:
    """Read the clips of `prompts` from the picture that a record names.

    None, and a line in `problems`, where the picture is missing, foreign or damaged.
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
    """Return the picture's path, if there is one; only files of its own folder are ever read."""
    folder = run.folder.resolve()
    try:
        path = (folder / str(record.get("file") or "")).resolve()
        return path if path.is_relative_to(folder) and path.is_file() else None
    except (OSError, ValueError):
        return None


def _read(record: Record, path: Path, name: str, prompts: Collection[str]) -> Strips:
    """Check a record against its picture and read it; ValueError or OSError with the reason."""
    from PIL import Image  # not needed by runs without samples

    listed = texts(record, "prompts")
    frames, height, width = (
        int(number(record, key) or 0) for key in ("num_frames", "height", "width")
    )
    if not listed or min(frames, height, width) < 1:
        raise ValueError("the record lacks prompts, num_frames, height or width")
    expected = (frames * width, len(listed) * height)
    if expected[0] * expected[1] > MAX_PIXELS:
        raise ValueError(f"a picture of {expected} is too large for the page")
    checksum = text(record, "sha256")
    if checksum and hashlib.sha256(path.read_bytes()).hexdigest() != checksum:
        raise ValueError(f"{path.name} is not the picture that was made with this record")
    with _any_size(), Image.open(path, formats=["WEBP", "PNG"]) as image:
        if image.size != expected:
            raise ValueError(f"the picture is {image.size}, its record says {expected}")
        chosen = [index for index, prompt in enumerate(listed) if prompt in prompts]
        if not chosen:
            raise ValueError("shows none of the prompts of the last samples")
        picture = _encode(_rows(image, chosen, height))
    return Strips(name, record, number_rows([listed[index] for index in chosen]), picture)


@contextmanager
def _any_size() -> Iterator[None]:
    """Lift Pillow's own limit, which long clips exceed: the record says what size to decode."""
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def number_rows(prompts: Sequence[str]) -> list[Row]:
    """Return a row for each prompt, those of one prompt numbered from 0."""
    seen = Counter[str]()
    rows = []
    for prompt in prompts:
        rows.append(Row(prompt, seen[prompt]))
        seen[prompt] += 1
    return rows


def _rows(image: "Image.Image", chosen: Sequence[int], height: int) -> "Image.Image":
    """Return an RGB picture of the chosen rows of height `height`."""
    from PIL import Image

    picture = Image.new("RGB", (image.width, len(chosen) * height))
    for place, index in enumerate(chosen):
        row = image.crop((0, index * height, image.width, (index + 1) * height))
        picture.paste(row, (0, place * height))
    return picture


def _encode(picture: "Image.Image") -> bytes:
    """Encode a picture as WebP: without loss if that is light enough; ValueError if nothing is."""
    for options in (LOSSLESS, *({"quality": quality} for quality in QUALITIES)):
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", **options)
        if buffer.tell() <= MAX_PICTURE_BYTES:
            return buffer.getvalue()
    raise ValueError(f"the picture, {picture.size}, is too heavy for the page")
