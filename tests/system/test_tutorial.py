"""The tutorial's notebook, run by a kernel of Jupyter from its first cell to its last."""

import nbformat
import pytest
from nbclient import NotebookClient

from tests.support.commands import BIN, ROOT, environment

NOTEBOOK = ROOT / "docs" / "tutorial.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(NOTEBOOK, as_version=4)


def test_the_notebook_holds_no_outputs(notebook):
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    assert not any(cell.outputs or cell.execution_count for cell in code)


def test_the_notebook_runs(notebook, tmp_path):
    variables = environment(
        PATH=f"{BIN}:/usr/bin:/bin", IPYTHONDIR=str(tmp_path / "ipython"), HOME=str(tmp_path)
    )
    work = tmp_path / "work"
    work.mkdir()
    client = NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(work)}})
    client.execute(env=variables)
    films = [
        output.data["image/gif"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/gif" in output.get("data", {})
    ]
    assert len(films) == 5
    assert (work / "runs/first/report.html").exists()
    assert (work / "videos/a-fractal-zooming-in-0.gif").exists()
