"""Show a run in the terminal: `python -m t2vgan.tracking.watch RUN_DIR`."""

import time
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.live import Live

from t2vgan.errors import UserError
from t2vgan.tracking.watch.follow import Follower
from t2vgan.tracking.watch.view import draw
from t2vgan.utils import cli

WIDTH_IN_FILES = 100


def watch(
    run_dir: tyro.conf.Positional[Path],
    once: bool = False,
    every_seconds: Annotated[float, tyro.conf.arg(metavar="SECONDS")] = 2.0,
) -> None:
    """Show a run's curves, rate, time left and warnings.

    Ctrl-C ends the view, not the run. Into a file or pipe, the run is shown once.

    Args:
        run_dir: The run's folder, possibly on a shared file system; only files are read.
        once: Show the run once and exit.
        every_seconds: Seconds between updates.
    """
    if not run_dir.is_dir():
        raise UserError(f"run_dir={run_dir} does not exist; give the folder of a training run")
    if every_seconds <= 0:
        raise UserError(f"--every-seconds {every_seconds} must be greater than 0")
    follower = Follower(run_dir)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_IN_FILES
    if once or not console.is_terminal:
        console.print(draw(follower.read(), console.width))
        return
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(draw(follower.read(), console.width), refresh=True)
            time.sleep(every_seconds)


def main() -> None:
    """Run the command."""
    cli.call(watch)


if __name__ == "__main__":
    cli.run(main)
