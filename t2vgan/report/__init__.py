"""A run explains itself: run_dir -> one self-contained report.html; many run_dirs -> a comparison.

    records.py      run_dir -> Run, read with tolerance
    page.py         Run -> the page: its sections in order
    comparison.py   many Runs -> one page; standings.py their evaluations, number by number
    pictures.py     film strips, light enough for a page; sheet.py lays them out, moving
    attributes.py   accuracy attribute by attribute, confusion matrices
    curves.py       which numbers become which chart; charts.py draws them as SVG
    scores.py       accuracy in tables
    reproduce.py    commands, hardware, settings
    markup.py       text -> HTML, escaped by default; style.py is the style sheet

The page works offline and runs no script: pictures are data URIs, charts are inline SVG, the
moving pictures are CSS animations.
"""

from collections.abc import Sequence
from pathlib import Path

from t2vgan.report.comparison import Comparison, render_comparison
from t2vgan.report.page import render_page
from t2vgan.report.records import Run, read_evaluation, read_run
from t2vgan.utils.files import atomic_write_bytes

__all__ = ["open_comparison", "write_comparison", "write_report"]


def write_report(run_dir: Path | str) -> Path:
    """Write `run_dir/report.html` from the run's own files and return its path.

    Raises `UserError` when `run_dir` holds no metrics. Everything else may be missing (samples,
    evaluations, config): the page then says so.
    """
    run_dir = Path(run_dir)
    report = run_dir / "report.html"
    atomic_write_bytes(report, render_page(read_run(run_dir)).encode(errors="replace"))
    return report


def write_comparison(comparison: Comparison, out: Path | str) -> Path:
    """Write a page that compares runs, and return its path."""
    atomic_write_bytes(out, render_comparison(comparison).encode(errors="replace"))
    return Path(out)


def open_comparison(paths: Sequence[Path | str]) -> Comparison:
    """Read run folders, and evaluations without a run, to compare them.

    Raises `UserError` when a folder holds no metrics, a file is no evaluation, one is named twice,
    or they are more than eight.
    """

    def read(path: Path) -> Run:
        return read_evaluation(path) if path.is_file() else read_run(path)

    return Comparison([read(Path(path)) for path in paths])
