"""Parse the pages of the report."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from PIL import Image

from t2vgan.report import write_report

VOID = {"br", "meta", "input", "link", "img", "hr"}

SECTIONS = (
    "Seeds beside real clips",
    "Samples over training",
    "Attributes",
    "Curves",
    "Prompt by prompt",
    "Final evaluation",
    "Events",
    "Hardware, software and data",
    "Configuration",
    "How to reproduce",
)


class Page(HTMLParser):
    """Parse a page strictly: every opened element is closed, in order."""

    def __init__(self, html: str):
        super().__init__()
        self.html = html
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, name, attributes):
        self.elements.append((name, dict(attributes)))
        self.texts.setdefault(name, []).append("")
        if name not in VOID:
            self.open.append(name)

    def handle_startendtag(self, name, attributes):
        self.elements.append((name, dict(attributes)))

    def handle_endtag(self, name):
        assert self.open.pop() == name

    def handle_data(self, data):
        if data.isspace() and "\n" in data:  # between elements: a template's own line breaks
            return
        for name in self.open:
            self.texts[name][-1] += data

    def named(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for element, attributes in self.elements if element == name]

    def with_class(self, name: str) -> list[dict[str, str | None]]:
        return [
            attributes
            for _, attributes in self.elements
            if name in (attributes.get("class") or "").split()
        ]


def report_of(run_dir: Path) -> tuple[str, Page]:
    html = write_report(run_dir).read_text(encoding="utf-8")
    return html, Page(html)


def sheet_of(html: str, number: int) -> Page:
    """Return the nth section of a page by itself."""
    return Page(re.findall("<section>.*?</section>", html, re.DOTALL)[number])


def pictures_of(page: Page) -> dict[str, np.ndarray]:
    """Return the pixels of a page's strips by CSS class."""
    found = re.findall(r"\.(\w+){background-image:url\(data:image/webp;base64,([^)]*)", page.html)
    return {
        name: np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))
        for name, data in found
    }


def cells_of(html: str) -> list[list[str]]:
    """Return the texts of a table's cells, row by row."""
    rows = re.findall("<tr>(.*?)</tr>", html, re.DOTALL)
    split = (re.findall("<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in rows)
    return [[re.sub("<.*?>", "", cell) for cell in row] for row in split]
