"""TODO."""

import os
import sys
from collections.abc import Sequence

MAX_SHOWN = 20


def print_stderr(text: str) -> None:
    """Print a line for the user; where nobody listens any more, do nothing.

    A closed terminal or pipe must not end what runs. Signal handlers may call this too. Text and
    line end go out as one: several ranks share a terminal.
    """
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for the rest of the process)
    except RuntimeError:  # a handler in the middle of another line
        pass


def format_error(error: BaseException) -> str:
    """Return an exception's message as one printable line; an OSError names its file first."""
    if isinstance(error, OSError) and error.strerror:
        told = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        told = str(error) or type(error).__name__
    return escape_control_chars(" ".join(told.split()))


def show_some(lines: Sequence[str]) -> None:
    """Print the first of many lines about a stranger's files, and how many more there are."""
    for line in lines[:MAX_SHOWN]:
        print(escape_control_chars(line))
    if len(lines) > MAX_SHOWN:
        print(f"and {len(lines) - MAX_SHOWN} more")


def escape_control_chars(text: str) -> str:
    """Return text from a stranger's file without anything that a terminal would obey."""
    return "".join(character if character.isprintable() else "?" for character in text)
