"""`python -m t2vgan.report RUN_DIR`: write RUN_DIR/report.html."""

from pathlib import Path

import tyro

from t2vgan import cli
from t2vgan.report import write_report


def report(run_dir: tyro.conf.Positional[Path]) -> None:
    """Write a run's report page: curves, moving samples, prompt-by-prompt accuracy.

    Args:
        run_dir: the folder of a training run; the page becomes report.html inside it
    """
    path = write_report(run_dir)
    print(f"{path} ({path.stat().st_size / 1e6:.2g} MB): open it in any browser")


def main() -> None:
    cli.call(report, prog="python -m t2vgan.report")


if __name__ == "__main__":
    cli.run(main)
