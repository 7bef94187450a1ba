"""Run the checks, and print a table of their results."""

import time
from collections.abc import Sequence

from t2vgan.config import Config
from t2vgan.distributed.context import STARTUP_TIMEOUT, DistributedContext, is_lost_connection
from t2vgan.errors import UserError
from t2vgan.training.preflight.check_result import FIT, UNFIT, WARNING, CheckResult
from t2vgan.training.preflight.machines import check_clocks, check_devices, check_link
from t2vgan.training.preflight.settings import (
    check_config,
    check_run,
    check_software,
    check_tracker,
)
from t2vgan.training.preflight.storage import check_folder, check_shard_files, check_space
from t2vgan.utils.cli import EXIT_USER_ERROR
from t2vgan.utils.console import count_of, escape_control_chars, first_line

TIMEOUT_SECONDS = 60.0
STORAGE_TIMEOUT = STARTUP_TIMEOUT  # a rank may be reading a large shard over a slow link
CHECKS = (
    *(check_devices, check_link, check_clocks),
    *(check_software, check_config, check_tracker),
)
STORAGE_CHECKS = (check_folder, check_shard_files, check_run, check_space)
COLOURS = {FIT: "green", WARNING: "yellow", UNFIT: "bold red"}
WIDTH_IN_FILES = 1000  # one line per check, so that a file can be searched


def preflight(config: Config) -> int:
    """Run all checks and print a table; return the exit code.

    0 if every rank is fit to train, else 2.
    """
    start = time.perf_counter()
    context = DistributedContext(
        num_cpu_threads=config.num_cpu_threads,
        timeout_seconds=config.timeout_seconds,
        mode="train --preflight",
    )
    timeout = TIMEOUT_SECONDS
    try:
        context.set_timeout(timeout)
        findings = [check(context, config) for check in CHECKS]
        timeout = STORAGE_TIMEOUT.total_seconds()
        context.set_timeout(timeout)
        findings += [check(context, config) for check in STORAGE_CHECKS]
    except RuntimeError as error:
        if not is_lost_connection(error):
            raise
        raise UserError(
            f"another process is gone, or did not answer for {timeout:.0f} s"
            f" ({first_line(error)}); see its own output"
        ) from error
    if context.is_main:
        print_table(findings, context.world_size, time.perf_counter() - start)
    context.shutdown()
    return EXIT_USER_ERROR if any(finding.verdict == UNFIT for finding in findings) else 0


def print_table(findings: Sequence[CheckResult], world_size: int, seconds: float) -> None:
    """Print a table of the findings, and the verdict below it."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("check", "verdict", "found")
    for finding in findings:
        coloured = Text(finding.verdict, COLOURS[finding.verdict])
        table.add_row(finding.name, coloured, Text(escape_control_chars(finding.text)))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = WIDTH_IN_FILES
    console.print(table)
    unfit = [finding.name for finding in findings if finding.verdict == UNFIT]
    verdict = f"not fit: {', '.join(unfit)}" if unfit else "fit to train"
    console.print(f"{verdict} on {count_of(world_size, 'process', 'processes')} ({seconds:.1f} s)")
