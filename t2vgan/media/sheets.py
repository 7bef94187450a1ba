"""Show many clips in one picture: film strips and contact sheets."""

import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from unicodedata import east_asian_width

import numpy as np

from t2vgan.errors import UserError
from t2vgan.media.fonts import LabelFont

PAPER = (246, 247, 249)
LINE = (205, 209, 216)
INK = (38, 42, 51)
FONT_SIZE = 12
MAX_LABEL_LINES = 3
MAX_LABEL_LENGTH = 500  # characters, more than three lines can show


def film_strips(clips: np.ndarray) -> np.ndarray:
    """Return clips as one picture, with a row per clip.

    (N, T, H, W, C) becomes (N*H, T*W, C).
    """
    num_clips, num_frames, height, width, channels = clips.shape
    rows = clips.transpose(0, 2, 1, 3, 4)
    return rows.reshape(num_clips * height, num_frames * width, channels)


def split_film_strips(image: np.ndarray, *, num_frames: int, height: int, width: int) -> np.ndarray:
    """Return the clips of a `film_strips` picture, (N, T, H, W, C)."""
    if image.shape[0] % height or image.shape[1] != num_frames * width:
        raise ValueError(
            f"a picture of {image.shape[1]}x{image.shape[0]} does not hold rows of "
            f"{num_frames} frames of {width}x{height}"
        )
    rows = image.reshape(-1, height, num_frames, width, image.shape[2])
    return rows.transpose(0, 2, 1, 3, 4)


def contact_sheet(
    clips: np.ndarray, labels: Sequence[str], *, columns: int, scale: int = 1
) -> np.ndarray:
    """Return labelled clips side by side as the frames of one animation.

    clips: (N, T, H, W, 3) uint8, placed row by row. labels: N texts, one under each clip, wrapped
    to at most three lines. `scale` enlarges clips by repeating pixels. The returned frames are
    (T, H', W', 3) uint8; H' and W' are even, as MP4 requires.
    """
    num_clips, num_frames, height, width, _ = clips.shape
    if min(num_clips, columns, scale) < 1:
        raise UserError(f"contact sheet: {num_clips=}, {columns=} and {scale=} must all be above 0")
    if len(labels) != num_clips:
        raise ValueError(f"{len(labels)} labels for {num_clips} clips")

    layout = SheetLayout(labels, height * scale, width * scale, columns)
    frames = np.repeat(layout.draw()[np.newaxis], num_frames, axis=0)
    for index, clip in enumerate(clips):
        left, top = layout.corner(index)
        place = np.s_[:, top : top + layout.clip_height, left : left + layout.clip_width]
        frames[place] = clip.repeat(scale, axis=1).repeat(scale, axis=2)
    return frames


class SheetLayout:
    """The static part of a contact sheet: labels, and positions of clips."""

    def __init__(
        self, labels: Sequence[str], clip_height: int, clip_width: int, columns: int
    ) -> None:
        self.font = LabelFont(FONT_SIZE)
        self.clip_height, self.clip_width = clip_height, clip_width
        self.columns = min(columns, len(labels))
        self.rows = -(-len(labels) // self.columns)

        self.gap = round(1.25 * FONT_SIZE)  # around the sheet and between its cells
        self.pad = FONT_SIZE // 2  # between a clip and its label
        self.line_height = round(1.25 * FONT_SIZE)
        self.cell_width = max(clip_width, 7 * FONT_SIZE)  # narrower cells cut most words
        self.labels = [
            wrap(self.font.spell(label[:MAX_LABEL_LENGTH]), self.cell_width, self.font.getlength)
            for label in labels
        ]
        num_lines = max(len(lines) for lines in self.labels)
        self.cell_height = clip_height + self.pad + num_lines * self.line_height

    def corner(self, index: int) -> tuple[int, int]:
        """Return the left and top coordinates of a clip."""
        row, column = divmod(index, self.columns)
        left = self.gap + column * (self.cell_width + self.gap)
        top = self.gap + row * (self.cell_height + self.gap)
        return left + (self.cell_width - self.clip_width) // 2, top

    def draw(self) -> np.ndarray:
        """Return the sheet without its clips, (H', W', 3) uint8."""
        from PIL import Image, ImageDraw

        width = self.gap + self.columns * (self.cell_width + self.gap)
        height = self.gap + self.rows * (self.cell_height + self.gap)
        page = Image.new("RGB", (width + width % 2, height + height % 2), PAPER)
        draw = ImageDraw.Draw(page)
        for index, lines in enumerate(self.labels):
            left, top = self.corner(index)
            right, bottom = left + self.clip_width, top + self.clip_height
            draw.rectangle((left - 1, top - 1, right, bottom), outline=LINE)
            for number, line in enumerate(lines):
                place = ((left + right) / 2, bottom + self.pad + number * self.line_height)
                self.font.draw(draw, place, line, INK, is_centred=True)
        return np.array(page)


def wrap(text: str, width: int, length: Callable[[str], float]) -> list[str]:
    """Return text as at most three lines of `width` pixels.

    Lines break at spaces, and after hyphens if a word is too long. A line that does not fit ends in
    an ellipsis.
    """
    lines = [""]
    for chunk in text.split():
        for part, separator in split_at_hyphen(chunk, width, length):
            longer = f"{lines[-1]}{separator}{part}" if lines[-1] else part
            if length(longer) <= width or not lines[-1]:
                lines[-1] = longer
            else:
                lines.append(part)
    last = MAX_LABEL_LINES - 1
    lines[last:] = [" ".join(lines[last:])] if lines[last:] else []
    return [cut_to_width(line, width, length) for line in lines]


def split_at_hyphen(text: str, width: int, length: Callable[[str], float]) -> list[tuple[str, str]]:
    """Return the unbreakable parts of a text without spaces.

    Each comes with the separator before it. Chinese and Japanese lines may break anywhere.
    """
    if length(text) <= width:
        return [(text, " ")]
    if "\\u" in text or any(east_asian_width(letter) == "W" for letter in text):
        first, *others = re.findall(r"\\u[0-9a-f]{4}|.", text)  # also escaped characters
        return [(first, " "), *((letter, "") for letter in others)]
    first, hyphen, rest = text.partition("-")
    return [(first + hyphen, " "), *([(rest, "")] if hyphen else [])]


def cut_to_width(text: str, width: int, length: Callable[[str], float]) -> str:
    """Return text cut to `width` pixels, with an ellipsis at the cut."""
    if length(text) <= width:
        return text

    def cut(num_letters: int) -> str:
        return f"{text[:num_letters].rstrip()}…"

    too_many = bisect_left(range(len(text)), True, key=lambda n: length(cut(n)) > width)
    return cut(max(0, too_many - 1))
