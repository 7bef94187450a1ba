"""Draw text of any script with the fonts of the system.

Pillow's own font has only Latin letters. Each run of words uses the first font that has all of its
letters; letters that no font has are transliterated to ASCII.
"""

import os
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from t2vgan.media.transliteration import transliterate

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
)
MAX_FONTS = 2000
UNUSUAL = ("bold", "italic", "oblique", "mono", "condensed", "light", "thin", "black", "serif")
OWN_FONT = ""  # stands for the path of Pillow's own font
UNASSIGNED = "\U0010ffff"  # in no font, so it shows the glyph for missing letters


class LabelFont:
    """Fonts of one size, used like a single Pillow font."""

    def __init__(self, size: int) -> None:
        self.size = size

    def spell(self, text: str) -> str:
        """Return a text spelt with letters that the fonts have."""
        return " ".join(
            token if _choose_font(token) is not None else _spell(token) for token in text.split()
        )

    def getlength(self, text: str) -> float:
        """Return the width of a text in pixels."""
        return sum(font.getlength(run) for run, font in self._split_runs(text))

    def draw(
        self,
        draw: "ImageDraw",
        place: tuple[float, float],
        text: str,
        ink: tuple[int, int, int],
        *,
        is_centred: bool = False,
    ) -> None:
        """Draw a text below a place, starting or centred there."""
        runs = self._split_runs(text)
        own = _load_font(OWN_FONT, self.size)
        if [font for _, font in runs] == [own]:
            draw.text(place, text, ink, own, anchor="ma" if is_centred else None)
            return
        left = place[0] - (self.getlength(text) / 2 if is_centred else 0)
        baseline = place[1] + own.getmetrics()[0]
        for run, font in runs:
            draw.text((left, baseline), run, ink, font, anchor="ls")
            left += font.getlength(run)

    def _split_runs(self, text: str) -> "list[tuple[str, FreeTypeFont]]":
        """Return runs of consecutive words in one font, with trailing spaces."""
        tokens = text.split(" ")
        spaced = [f"{token} " for token in tokens[:-1]] + tokens[-1:]
        runs = groupby(spaced, key=lambda token: _choose_font(token) or OWN_FONT)
        return [("".join(run), _load_font(path, self.size)) for path, run in runs]


def _spell(token: str) -> str:
    """Transliterate the letters that no font has, or all letters."""
    mixed = "".join(c if _choose_font(c) is not None else transliterate(c) for c in token)
    plain = _choose_font(mixed) is not None and not _is_complex(token)
    return mixed if plain else transliterate(token)


def _is_complex(text: Iterable[str]) -> bool:
    """Return whether a script needs shaping or runs right to left."""
    return any(
        unicodedata.category(c)[0] == "M" or unicodedata.bidirectional(c) in ("R", "AL")
        for c in text
    )


@lru_cache(10_000)
def _choose_font(text: str) -> str | None:
    """Return the first font that has all letters of a text."""
    if _is_complex(text) and not _can_shape():
        return None
    return next((path for path in _font_paths() if _has_letters(path, text)), None)


@lru_cache(1)
def _can_shape() -> bool:
    from PIL import features

    return bool(features.check("raqm"))


@lru_cache(1)
def _font_paths() -> tuple[str, ...]:
    """Return the paths of the fonts, regular sans-serif ones first."""
    found = [path for folder in FOLDERS for path in _list_fonts(Path(folder).expanduser())]

    def order(path: str) -> tuple[int, bool, str]:
        name = os.path.basename(path).lower()
        return sum(style in name for style in UNUSUAL), "sans" not in name, path

    return OWN_FONT, *sorted(found, key=order)[:MAX_FONTS]


def _list_fonts(folder: Path) -> Iterator[str]:
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.lower().endswith((".ttf", ".otf", ".ttc")):
                yield os.path.join(parent, name)


def _has_letters(path: str, text: str) -> bool:
    return all(_has_letter(path, letter) for letter in dict.fromkeys(text))


@lru_cache(100_000)
def _has_letter(path: str, letter: str) -> bool:
    if letter == " ":
        return True
    if unicodedata.category(letter) == "Cf":  # joiners, which text shaping consumes
        return path != OWN_FONT
    try:
        font = _load_font(path, 24, shaped=False)
        mask, missing = font.getmask(letter), font.getmask(UNASSIGNED)
    except (OSError, ValueError):  # a bitmap font, or not a font
        return False
    return mask.getbbox() is not None and (mask.size, bytes(mask)) != (missing.size, bytes(missing))


@lru_cache(200)
def _load_font(path: str, size: int, shaped: bool = True) -> "FreeTypeFont":
    from PIL import ImageFont

    if path == OWN_FONT:
        font = ImageFont.load_default(size)
        assert isinstance(font, ImageFont.FreeTypeFont)
        return font
    engine = ImageFont.Layout.RAQM if shaped and _can_shape() else ImageFont.Layout.BASIC
    return ImageFont.truetype(path, size, layout_engine=engine)
