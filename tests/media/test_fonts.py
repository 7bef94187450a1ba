"""Labels of every script: by a font of the system, else spelt in ASCII."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from t2vgan.media import contact_sheet, fonts
from t2vgan.media.fonts import LabelFont
from t2vgan.media.sheets import wrap
from t2vgan.media.transliteration import transliterate

INK = (0, 0, 0)


@pytest.fixture
def no_fonts(monkeypatch):
    """A machine on which no font is installed."""
    monkeypatch.setattr(fonts, "FOLDERS", ())
    for cached in (fonts._font_paths, fonts._choose_font):
        cached.cache_clear()
    yield
    for cached in (fonts._font_paths, fonts._choose_font):
        cached.cache_clear()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("красный Дом", "krasnyy Dom"),
        ("Παιδί", "Paidi"),
        ("बालक", "baalaka"),
        ("हिन्दी", "hindii"),
        ("ولد", "wld"),
        ("ילד", "yld"),
        ("고양이", "goyangi"),
        ("ねこ カメ", "neko kame"),
        ("กา", "kaa"),
        ("Việt Nam, café", "Viet Nam, cafe"),
        ("\uff21\uff22\uff13", "AB3"),
        ("१२", "12"),
        ("a 👩 runs", "a [woman] runs"),
        ("小猫", r"\u5c0f\u732b"),
        ("plain, \\ and 7", "plain, \\ and 7"),
    ],
)
def test_other_scripts_are_spelt(text, expected):
    assert transliterate(text) == expected


@given(st.text())
def test_every_text_is_spelt_in_ascii(text):
    assert transliterate(text).isascii()


def draw(text: str) -> np.ndarray:
    page = Image.new("RGB", (300, 40), (255, 255, 255))
    LabelFont(12).draw(ImageDraw.Draw(page), (150, 10), text, INK, is_centred=True)
    return np.array(page)


def test_without_fonts_labels_are_spelt_and_differ(no_fonts):
    font = LabelFont(12)
    boy, girl = font.spell("लड़का दौड़ता है"), font.spell("लड़की दौड़ती है")
    assert boy == transliterate("लड़का दौड़ता है")
    assert boy != girl
    assert (draw(boy) != draw(girl)).any()
    assert font.spell("a café 小猫") == r"a cafe \u5c0f\u732b"
    clips = np.zeros((2, 3, 16, 16, 3), np.uint8)
    labels = ["красный круг", "krasnyy krug"]
    sheets = [contact_sheet(clips, [label] * 2, columns=2) for label in labels]
    assert np.array_equal(*sheets), "boxes would be drawn otherwise"


def test_plain_labels_are_drawn_by_the_own_font():
    page = Image.new("RGB", (300, 40), (255, 255, 255))
    font = ImageFont.load_default(12)
    ImageDraw.Draw(page).text((150, 10), "circle moving up-right", INK, font, anchor="ma")
    assert np.array_equal(draw("circle moving up-right"), np.array(page))
    assert LabelFont(12).getlength("circle moving") == font.getlength("circle moving")


@pytest.mark.parametrize("text", ["красный круг", "ولد يركض بسرعة", "小猫在跑", "लड़का दौड़ता"])
def test_letters_are_those_of_a_font_that_has_them(text):
    font = LabelFont(12)
    if font.spell(text) != text:
        assert font.spell(text).isascii(), "no font here: it is spelt"
        return
    (path,) = {fonts._choose_font(token) for token in text.split()}
    probe = ImageFont.truetype(path, 24, layout_engine=ImageFont.Layout.BASIC)
    missing = bytes(probe.getmask(fonts.UNASSIGNED))
    assert all(bytes(probe.getmask(letter)) != missing for letter in text)
    mixed = f"one {text} two"
    assert font.spell(mixed) == mixed
    parts = [font.getlength(part) for part in ("one ", f"{text} ", "two")]
    assert font.getlength(mixed) == pytest.approx(sum(parts))
    ink = np.flatnonzero((draw(mixed) < 128).any(axis=(0, 2)))
    assert abs((ink[0] + ink[-1]) / 2 - 150) < 6, "centred"


def test_long_lines_of_chinese_break_between_characters():
    assert wrap("小猫在花园里跑", 40, lambda text: 10 * len(text)) == ["小猫在花", "园里跑"]
    assert wrap(r"\u5c0f\u732b", 80, lambda text: 10 * len(text)) == [r"\u5c0f", r"\u732b"]
