"""Turn a notebook into Markdown, without outputs."""

import json


def to_markdown(notebook: str) -> str:
    """Return the cells of a notebook (JSON, format 4) as Markdown."""
    return "\n\n".join(
        text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
        for cell in json.loads(notebook)["cells"]
        if (text := "".join(cell["source"]))
    )
