"""The contact sheet: rows of prompts, columns of moments of training, every cell a looping clip.

A moment's film-strip picture (one row a clip, its frames side by side) goes into the page once, as
the run wrote it. Each cell shows one frame of it and a CSS animation steps along the row. All
cells share the page's one clock, so they move in step, which separate animated pictures do not.
"""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from t2vgan.report.markup import Markup, count, join, short, stopwatch, tag
from t2vgan.report.records import Record, Run, number, texts
from t2vgan.report.scores import HELD_OUT

if TYPE_CHECKING:
    from PIL import Image

MAX_MOMENTS = 6
MAX_PICTURE_BYTES = 900_000  # 6 of these in base64 are 7 MB of page
DEFAULT_FPS = 10

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One clip of the sheet: a prompt, and which of its clips where it has several."""

    prompt: str
    occurrence: int


@dataclass(frozen=True)
class Moment:
    """The clips sampled at one moment of training."""

    record: Record
    rows: Sequence[Row]  # of the picture, top to bottom
    picture: bytes  # film strips, WebP or PNG
    mime: str

    @property
    def label(self) -> Markup:
        clips, seconds = self.record["clips_seen"], self.record["seconds"]
        return tag("span", tag("b", short(clips)), tag("br"), stopwatch(seconds))

    def rule(self, name: str) -> str:
        """Return the CSS rule that every cell of this moment shares."""
        picture = base64.b64encode(self.picture).decode("ascii")
        frames, fps = int(self.record["num_frames"]), number(self.record, "fps") or DEFAULT_FPS
        # jump-none: the first frame at 0 %, the last at 100 %, each shown for 1/frames of a loop.
        motion = f"film {frames / fps:.3f}s steps({frames}, jump-none) infinite"
        return (
            f".{name}{{background-image:url(data:{self.mime};base64,{picture});"
            f"background-size:{frames * 100}% {len(self.rows) * 100}%;"
            f"aspect-ratio:{int(self.record['width'])}/{int(self.record['height'])};"
            f"{f'animation:{motion}' if frames > 1 else ''}}}"
        )


def contact_sheet(run: Run, problems: list[str]) -> Markup | None:
    """Render up to MAX_MOMENTS moments, first to last; None if no moment can be shown.

    A picture that is missing, foreign or damaged is left out and named in `problems`.
    """
    paths = ((record, _picture_path(run, record)) for record in run.samples)
    present = [(record, path) for record, path in paths if path is not None]
    if len(present) < len(run.samples):
        absent = len(run.samples) - len(present)
        problems.append(f"sample pictures missing or outside run_dir: {absent}")
    moments = []
    for record, path in choose_evenly(present, MAX_MOMENTS):
        try:
            moments.append(_read_moment(record, path))
        except (OSError, ValueError) as error:
            problems.append(f"samples of step {record['step']}: {error}")
    if not moments:
        return None
    rules = Markup("\n".join(moment.rule(f"m{index}") for index, moment in enumerate(moments)))
    legend = tag(
        "p",
        "Left to right is training: clips seen, and the time it took in minutes and seconds. ",
        tag("label", tag("input", type="checkbox", id="pause"), " Pause"),
    )
    return join(tag("style", rules), legend, _grid(moments, run.held_out_prompts))


def choose_evenly(items: Sequence[T], most: int) -> list[T]:
    """Choose at most `most` items, evenly spaced, the first and the last among them."""
    if len(items) <= most:
        return list(items)
    return [items[round(index * (len(items) - 1) / (most - 1))] for index in range(most)]


def _grid(moments: Sequence[Moment], held_out_prompts: frozenset[str]) -> Markup:
    """Lay out the rows of the last moment, held-out prompts below the trained ones."""
    rows = sorted(moments[-1].rows, key=lambda row: row.prompt in held_out_prompts)
    labels = tag("div", *(moment.label for moment in moments), class_="strip head")
    second = tag("div", labels, class_="second", aria_hidden="true")  # wide screens: two columns
    lines = []
    for row in rows:
        prompt = tag("p", row.prompt, HELD_OUT if row.prompt in held_out_prompts else None)
        cells = (_cell(f"m{index}", moment, row) for index, moment in enumerate(moments))
        lines.append(tag("div", prompt, tag("div", *cells, class_="strip")))
    return tag("div", labels, second, *lines, class_="sheet", style=f"--moments:{len(moments)}")


def _cell(name: str, moment: Moment, row: Row) -> Markup:
    if row not in moment.rows:
        return tag("i")
    at = 100 * moment.rows.index(row) / max(len(moment.rows) - 1, 1)
    hint = f"{row.prompt}, after {count(moment.record['clips_seen'])} clips"
    return tag(
        "i",
        class_=f"clip {name}",
        style=f"background-position-y:{at:.4f}%",
        role="img",
        aria_label=hint,
        title=hint,
    )


def _picture_path(run: Run, record: Record) -> Path | None:
    """Return the picture's path, if there is one; only a file inside the run is ever read."""
    folder = run.run_dir.resolve()
    try:
        path = (folder / str(record.get("file") or "")).resolve()
        return path if path.is_relative_to(folder) and path.is_file() else None
    except (OSError, ValueError):
        return None


def _read_moment(record: Record, path: Path) -> Moment:
    """Check a record against its picture and read it; ValueError or OSError with the reason."""
    from PIL import Image  # not needed by runs without samples

    prompts = texts(record, "prompts")
    frames, height, width = (
        int(number(record, key) or 0) for key in ("num_frames", "height", "width")
    )
    if not prompts or min(frames, height, width) < 1:
        raise ValueError("the record lacks prompts, num_frames, height or width")
    expected = (frames * width, len(prompts) * height)
    with Image.open(path, formats=["WEBP", "PNG"]) as image:
        if image.size != expected:
            raise ValueError(f"the picture is {image.size}, its record says {expected}")
        image.load()
        picture, mime = path.read_bytes(), f"image/{str(image.format).lower()}"
        if len(picture) > MAX_PICTURE_BYTES:
            picture, mime = _lighter(image), "image/webp"
    seen: Counter[str] = Counter()
    rows = []
    for prompt in prompts:
        rows.append(Row(prompt, seen[prompt]))
        seen[prompt] += 1
    return Moment(record, rows, picture, mime)


def _lighter(image: "Image.Image") -> bytes:
    """Encode a heavy picture anew as WebP: without loss if that is light enough."""
    for options in ({"lossless": True}, {"quality": 80}):
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "WEBP", **options)
        if buffer.tell() <= MAX_PICTURE_BYTES:
            break
    return buffer.getvalue()
