"""Format films, notes and readings as HTML.

All text is escaped, because prompts and weights are untrusted.
"""

import base64
from collections.abc import Sequence
from html import escape

from t2vgan.demo.films import Film, FilmRow, MeasuredAttribute
from t2vgan.demo.prompt_notes import Note

STYLE = """
.t2v-rows { display: flex; flex-wrap: wrap; gap: 1.5rem; }
.t2v-row { flex: 1 1 16rem; min-width: 0; }
.t2v-title, .t2v-row h3, #draw { font-weight: 600; }
.t2v-row h3 { margin: 0 0 .25rem; overflow-wrap: anywhere; white-space: pre-wrap; }
.t2v-films { display: flex; flex-wrap: wrap; gap: 1rem; margin-top: .75rem; }
.t2v-film { margin: 0; width: 256px; max-width: 100%; }
.t2v-film video { display: block; width: 100%; border-radius: 8px;
  border: 1px solid var(--border-color-primary); }
.t2v-film figcaption { font-size: .85rem; line-height: 1.5; margin-top: .35rem; }
.t2v-film a { color: var(--link-text-color); text-decoration: underline; margin-left: .6rem; }
.t2v-head { display: flex; }
.t2v-head span { flex: 1; opacity: .75; }
.t2v-note { margin: .15rem 0; font-size: .85rem; opacity: .75;
  overflow-wrap: anywhere; }
.t2v-warning, .t2v-miss { color: #b45309; opacity: 1; }
.t2v-hit { color: #047857; }
.dark .t2v-warning, .dark .t2v-miss { color: #fbbf24; }
.dark .t2v-hit { color: #34d399; }
.t2v-error { border-left: 3px solid #dc2626; padding: .5rem .75rem; overflow-wrap: anywhere; }
"""


def format_rows(rows: Sequence[FilmRow], remark: str) -> str:
    """Format rows of films, side by side, and a remark."""
    sections = "".join(
        f'<section class="t2v-row"><h3>{escape(row.title)}</h3>'
        f"{''.join(map(format_note, row.notes))}"
        f'<div class="t2v-films">{"".join(map(format_film, row.films))}</div></section>'
        for row in rows
    )
    return f'<div class="t2v-rows">{sections}</div>{format_note(Note(remark))}'


def format_film(film: Film) -> str:
    """Format one film with its readings and links to save it.

    Its files are part of the page; the server stores none.
    """
    mp4 = f"data:video/mp4;base64,{base64.b64encode(film.mp4).decode()}"
    gif = f"data:image/gif;base64,{base64.b64encode(film.gif).decode()}"
    name = escape(film.name)
    return (
        f'<figure class="t2v-film"><video src="{mp4}" aria-label="{name}"'
        " autoplay loop muted playsinline></video><figcaption>"
        f'<div class="t2v-head"><span>{escape(film.label)}</span>'
        f'<a href="{gif}" download="{name}.gif">GIF</a>'
        f'<a href="{mp4}" download="{name}.mp4">MP4</a></div>'
        f"{''.join(map(format_reading, film.readings))}</figcaption></figure>"
    )


def format_reading(reading: MeasuredAttribute) -> str:
    """Format the meter's reading beside the requested value."""
    kind, mark = ("hit", "✓") if reading.seen == reading.asked else ("miss", "✗")
    asked = "" if kind == "hit" else f" (asked: {reading.asked})"
    seen = "not recognised" if reading.seen == "none" else reading.seen
    text = escape(f"{mark} {reading.attribute}: {seen}{asked}")
    return f'<div class="t2v-{kind}">{text}</div>'


def format_note(note: Note) -> str:
    """Format one line about a prompt."""
    kind, mark = ("t2v-note t2v-warning", "⚠ ") if note.is_warning else ("t2v-note", "")
    return f'<p class="{kind}">{mark}{escape(note.text)}</p>'


def format_error(message: str) -> str:
    """Format an error that a visitor can correct."""
    return f'<p class="t2v-error" role="alert">{escape(message)}</p>'
