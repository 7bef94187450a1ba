"""Hooks of mkdocs: pages from outside docs/, generated parts, and links."""

from collections.abc import Callable

import api
import commands
import links
import notebook
import options
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

GENERATED: dict[str, Callable[[], str]] = {
    "api": api.format_api,
    "commands": commands.format_commands,
    "options": options.format_options,
    "presets": options.format_presets,
}
"""Name in `<!-- generated: NAME -->` -> what stands there in the site."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages whose files lie outside docs/, or are no Markdown."""
    for source, page in links.PAGES.items():
        text = (links.ROOT / source).read_text(encoding="utf-8")
        content = notebook.to_markdown(text) if source.endswith(".ipynb") else text
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in the generated parts and move the links."""
    for name, generate in GENERATED.items():
        marker = f"<!-- generated: {name} -->"
        if marker in markdown:
            markdown = markdown.replace(marker, generate())
    return links.move_links(markdown, page.file.src_uri)
