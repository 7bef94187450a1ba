"""Print to the terminal safely."""

import io
import logging
import os
import sys
from collections.abc import Sequence

from t2vgan.utils.urls import redact

MAX_SHOWN = 20
MAX_MESSAGE = 3000  # characters; the middle of longer messages is left out


def open_standard_streams() -> None:
    """Open closed standard streams; replace unencodable output by question marks."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass  # occupies the number of a closed stream, so that no file gets it
    os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 (for the whole process)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def print_stdout(text: object) -> None:
    """Print lines, without control characters."""
    sys.stdout.write(f"{escape_lines(str(text))}\n")
    sys.stdout.flush()


def print_stderr(text: str) -> None:
    """Print a line for the user; ignore a closed terminal or pipe.

    Signal handlers may call this. Text and line end are one write, because ranks share a terminal.
    """
    try:
        sys.stderr.write(f"{escape_lines(text)}\n")
        sys.stderr.flush()
    except (OSError, ValueError):
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for the rest of the process)
    except RuntimeError:  # a signal handler interrupted another write
        pass


def print_loading(what: object) -> None:
    """Print what is being loaded, only on rank 0 at a terminal."""
    if sys.stderr.isatty() and os.environ.get("RANK", "0") == "0":
        print_stderr(f"loading {what}")


def format_error(error: BaseException) -> str:
    """Format an exception as one printable line; an OSError's file comes first.

    Passwords in URLs are hidden.
    """
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    else:
        text = str(error) or type(error).__name__
    text = escape_control_chars(redact(" ".join(text.split())))
    if len(text) > MAX_MESSAGE:
        half = MAX_MESSAGE // 2
        text = f"{text[:half]} ... {text[-half:]}"
    return text


def first_line(error: BaseException) -> str:
    """Return the first nonblank line of an error message."""
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


def count_of(count: int, one: str, many: str = "") -> str:
    """Return "1 shard", "2 shards"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


def show_some(lines: Sequence[str]) -> None:
    """Print the first of the lines, and how many more there are."""
    for line in lines[:MAX_SHOWN]:
        print_stdout(escape_control_chars(line))
    if len(lines) > MAX_SHOWN:
        print_stdout(f"and {len(lines) - MAX_SHOWN} more")


def escape_control_chars(text: str) -> str:
    """Replace control characters by question marks.

    This is for untrusted text on one line.
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def escape_lines(text: str) -> str:
    """Replace control characters, except line ends, by question marks."""
    return "\n".join(map(escape_control_chars, text.split("\n")))


class StderrHandler(logging.Handler):
    """A logging handler that prints records as lines for the user."""

    def emit(self, record: logging.LogRecord) -> None:
        print_stderr(f"{record.levelname.lower()}: {self.format(record)}")
