"""Write the report of a run, or compare several: `t2vgan report RUN`."""

from pathlib import Path

import tyro

from t2vgan.errors import UserError
from t2vgan.report import open_comparison, write_comparison, write_report
from t2vgan.utils import cli, console
from t2vgan.utils.console import print_stdout


def report(runs: tyro.conf.Positional[tuple[Path, ...]], out: Path | None = None) -> None:
    """Write an HTML report of a run, or a comparison of several.

    A comparison is also printed.

    Args:
        runs: Folders of training runs, or JSON files that t2vgan evaluate wrote
        out: HTML file to write; by default RUN/report.html, or comparison.html for a comparison
    """
    if not runs:
        raise UserError("runs: give at least one folder of a run, such as runs/quickstart")
    if len(runs) == 1 and not runs[0].is_file():
        path = write_report(runs[0], out)
    else:
        comparison = open_comparison(runs)
        path = write_comparison(comparison, out or Path("comparison.html"))
        for line in comparison.format_lines():
            print_stdout(console.escape_control_chars(line))
    print_stdout(f"{path} ({path.stat().st_size / 1e6:.2g} MB): open it in any browser")


def main() -> None:
    """Run the command line."""
    cli.call(report)


if __name__ == "__main__":
    cli.run(main)
