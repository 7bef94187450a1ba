"""List the commands with their own help."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress

from t2vgan.__main__ import COMMANDS, main

WIDTH = 88


def format_commands() -> str:
    """Return a section for each command of `t2vgan`."""
    return "\n\n".join(f"## t2vgan {name}\n\n```text\n{read_help(name)}\n```" for name in COMMANDS)


def read_help(command: str) -> str:
    """Return what `t2vgan COMMAND --help` prints."""
    printed = io.StringIO()
    with (
        as_command_line("t2vgan", command, "--help"),
        redirect_stdout(printed),
        suppress(SystemExit),
    ):
        main()
    return printed.getvalue().strip()


@contextmanager
def as_command_line(*arguments: str) -> Iterator[None]:
    """Set the process's arguments, and the width of its terminal."""
    saved = sys.argv, dict(os.environ)
    sys.argv = list(arguments)
    os.environ |= {"COLUMNS": str(WIDTH), "NO_COLOR": "1"}
    try:
        yield
    finally:
        sys.argv = saved[0]
        os.environ.clear()
        os.environ |= saved[1]
