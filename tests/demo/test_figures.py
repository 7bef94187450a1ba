import base64
import io

import pytest
from PIL import Image

from t2vgan.demo.figures import format_error, format_film, format_note, format_reading, format_rows
from t2vgan.demo.films import Film, FilmRow, MeasuredAttribute
from t2vgan.demo.prompt_notes import Note
from tests.support.html_page import Page

HOSTILE = [
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\" onload=alert(1) '",
    "</h3></section><iframe>",
    "[a](javascript:alert(1)) **b**",
    "${alert(1)} {{constructor}}",
    "&lt;b&gt; \x00 \u202e",
]
SAFE = {"a", "div", "figcaption", "figure", "h3", "p", "section", "span", "video"}


def make_film(text="seed 0", readings=()):
    picture = io.BytesIO()
    Image.new("RGB", (4, 4)).save(picture, "GIF")
    return Film(text, text, picture.getvalue(), b"mp4 bytes", readings)


def page_of(html):
    return Page(f"<html>{html}</html>")


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_make_no_element_and_no_attribute(text):
    plain, hostile = (
        page_of(
            format_rows(
                [
                    FilmRow(
                        t, (Note(t), Note(t, True)), (make_film(t, (MeasuredAttribute(t, t, t),)),)
                    )
                ],
                t,
            )
            + format_error(t)
        )
        for t in ("plain", text)
    )
    assert (
        {tag for tag, _ in hostile.elements}
        == {tag for tag, _ in plain.elements}
        <= SAFE | {"html"}
    )
    assert [(tag, sorted(attributes)) for tag, attributes in hostile.elements] == [
        (tag, sorted(attributes)) for tag, attributes in plain.elements
    ]


def test_the_files_to_save_are_the_films():
    film = make_film("circle-moving-3")
    links = {
        attributes["download"]: base64.b64decode(attributes["href"].split(",", 1)[1])
        for tag, attributes in page_of(format_film(film)).elements
        if tag == "a"
    }
    assert links == {"circle-moving-3.gif": film.gif, "circle-moving-3.mp4": film.mp4}


@pytest.mark.parametrize(
    ("reading", "text"),
    [
        (MeasuredAttribute("motion", "up", "up"), "✓ motion: up<"),
        (MeasuredAttribute("motion", "up", "down"), "✗ motion: down (asked: up)<"),
        (MeasuredAttribute("shape", "star", "none"), "✗ shape: not recognised (asked: star)<"),
    ],
)
def test_readings_show_what_was_seen_and_asked(reading, text):
    assert text in format_reading(reading)


def test_warnings_are_marked():
    assert "⚠ careful" in format_note(Note("careful", is_warning=True))
    assert "⚠" not in format_note(Note("plain"))
