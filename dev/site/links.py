"""Move the links of the repository's pages to the site.

A page's links are written for its place in the repository, where they can be followed too.
"""

import posixpath
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = "docs/"
PAGES = {
    "README.md": "index.md",
    "launch/README.md": "launch.md",
    "CONTRIBUTING.md": "contributing.md",
    "dev/LOG.md": "experiments.md",
    "docs/tutorial.ipynb": "tutorial_notebook.md",
}
"""File of the repository -> page of the site. Other files of docs/ keep their names."""
SOURCES = {page: source for source, page in PAGES.items()}

CODE = re.compile(r"(^ *```.*?^ *```$|`[^`\n]+`)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")


def move_links(markdown: str, page: str) -> str:
    """Return a page's text with links that hold in the site.

    page: its name in the site. A link to a file that is no page becomes plain text; one to a file
    that does not exist stays, and the build refuses it.
    """
    source = SOURCES.get(page, DOCS + page)

    def move(link: re.Match[str]) -> str:
        target, _, anchor = link["target"].partition("#")
        if not target or re.match(r"[a-z]+:", target):
            return link[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if moved := find_page(path):
            moved += f"#{anchor}" if anchor else ""
            return f"{link['image']}[{link['text']}]({moved})"
        return link["text"] if (ROOT / path).is_file() else link[0]

    parts = CODE.split(markdown)  # text and code in turn
    return "".join(part if index % 2 else LINK.sub(move, part) for index, part in enumerate(parts))


def find_page(path: str) -> str | None:
    """Return the site's name of a file of the repository; None if it is no part of it."""
    return PAGES.get(path) or (path.removeprefix(DOCS) if path.startswith(DOCS) else None)
