"""`python -m t2vgan.report RUN_DIR [RUN_DIR ...]`: a page of one run, or of several compared."""

from pathlib import Path

import tyro

from t2vgan import cli
from t2vgan.errors import UserError
from t2vgan.report import write_comparison, write_report


def report(
    run_dirs: tyro.conf.Positional[tuple[Path, ...]], out: Path = Path("comparison.html")
) -> None:
    """Write a run's report page, RUN_DIR/report.html; of several runs, a page that compares them.

    Args:
        run_dirs: folders of training runs, at least one
        out: where the comparison of several runs goes
    """
    if not run_dirs:
        raise UserError(
            "run_dirs: none is named; name the folder of a run, such as runs/quickstart"
        )
    path = write_report(run_dirs[0]) if len(run_dirs) == 1 else write_comparison(run_dirs, out)
    print(f"{path} ({path.stat().st_size / 1e6:.2g} MB): open it in any browser")


def main() -> None:
    cli.call(report, prog="python -m t2vgan.report")


if __name__ == "__main__":
    cli.run(main)
