"""What every command does around its own work: one clear line and an exit code."""

import difflib
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

from t2vgan.errors import RunStoppedError, UserError

EXIT_USER_ERROR = 2
EXIT_STOPPED = 3
EXIT_INTERRUPTED = 130


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a command and leave with its exit code.

    A user's mistake (`UserError`) and the outside world's refusals (`OSError`: a full disk, a
    read-only folder) become one line on stderr and exit code 2; a run that had to stop and may be
    started again (`RunStoppedError`), one line and 3. Anything else is our defect and keeps its
    traceback.
    """
    try:
        sys.exit(main() or 0)
    except (UserError, OSError) as error:
        print(f"error: {describe(error)}", file=sys.stderr, flush=True)
        sys.exit(EXIT_USER_ERROR)
    except RunStoppedError as error:
        print(f"stopped: {describe(error)}", file=sys.stderr, flush=True)
        sys.exit(EXIT_STOPPED)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr, flush=True)
        sys.exit(EXIT_INTERRUPTED)


def describe(error: BaseException) -> str:
    """Return an exception's message as one line; an OSError names its file first."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def nearest(name: str, known: Iterable[str]) -> str:
    """Say which known names are close to a mistyped one, or which there are."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
    return f"nearest: {', '.join(close)}" if close else f"known: {', '.join(known)}"
