"""What every command does around its own work: one clear line and an exit code."""

import difflib
import functools
import io
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import redirect_stderr
from typing import Any, NoReturn, TypeVar

import tyro
from pydantic_core import ValidationError

from t2vgan.errors import AlreadyReportedError, RunStoppedError, UserError
from t2vgan.utils.console import format_error, print_stderr

EXIT_USER_ERROR = 2
EXIT_STOPPED = 3
EXIT_INTERRUPTED = 130

Parsed = TypeVar("Parsed")


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a command and leave with its exit code.

    A user's mistake (`UserError`) and the outside world's refusals (`OSError`: a full disk, a
    read-only folder) become one line on stderr and exit code 2; a run that had to stop and may be
    started again (`RunStoppedError`), one line and 3. Anything else is our defect and keeps its
    traceback.
    """
    try:
        sys.exit(main() or 0)
    except AlreadyReportedError:
        sys.exit(EXIT_USER_ERROR)
    except (UserError, OSError) as error:
        print_stderr(f"error: {format_error(error)}")
        sys.exit(EXIT_USER_ERROR)
    except RunStoppedError as error:
        print_stderr(f"stopped: {format_error(error)}")
        sys.exit(EXIT_STOPPED)
    except KeyboardInterrupt:
        print_stderr("interrupted")
        sys.exit(EXIT_INTERRUPTED)


def parse(command: Callable[..., Parsed], *, prog: str, **options: Any) -> Parsed:
    """Make what the command line describes; a mistake is one line like any other, not tyro's box.

    Raises:
        UserError: an option is unknown, missing or has no such value.
        ValidationError: a pydantic model refuses its values, in a section or as a whole.
    """
    box = io.StringIO()
    try:
        with redirect_stderr(box):
            parsed = tyro.cli(command, prog=prog, **options)
    except SystemExit as stop:
        if stop.code != EXIT_USER_ERROR:
            raise
        for cause in _chain(stop):
            if isinstance(cause, ValidationError):
                raise cause from None
        raise UserError(f"{_unbox(box.getvalue())} ({prog} --help lists all)") from None
    sys.stderr.write(box.getvalue())  # warnings
    return parsed


def call(function: Callable[..., Parsed], *, prog: str) -> Parsed:
    """Call a function with the arguments that the command line gives; UserError as in `parse`."""

    @functools.wraps(function)
    def bind(*arguments: Any, **named: Any) -> Callable[[], Parsed]:
        return functools.partial(function, *arguments, **named)

    return parse(bind, prog=prog)()


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _unbox(box: str) -> str:
    """Return tyro's message as one line: what is wrong, and the options it may have meant.

    Under a title stand the message, perhaps a hint, and a pointer to --help, rules between them;
    the help of single options is indented. A terminal without UTF-8 gets no frame around them.
    """
    _, *lines = re.sub(r"\x1b\[[\d;]*m", "", box).splitlines()
    inside = [line.strip("│") for line in lines]
    text = "\n".join(line for line in inside if not line.startswith(" " * 9))
    message, *hints = filter(str.strip, re.split(r"(?m)^ *[─-]{9,} *$", text))
    meant = [re.findall(r"--[\w.-]+", hint) for hint in hints if "meant" in hint]
    nearest = f"; nearest: {', '.join(dict.fromkeys(meant[0]))}" if meant else ""
    return " ".join(message.split()) + nearest


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known names are close to a mistyped one, or which there are."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
    return f"nearest: {', '.join(close)}" if close else f"known: {', '.join(known)}"
