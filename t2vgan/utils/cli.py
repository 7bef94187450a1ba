"""Parse command lines; turn exceptions into one line and an exit code."""

import difflib
import functools
import logging
import os
import select
import shlex
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import tyro
from pydantic_core import ValidationError
from tyro import _arguments as tyro_arguments
from tyro import _errors as tyro_errors

from t2vgan.errors import AlreadyReportedError, RunStoppedError, UserError
from t2vgan.utils.console import StderrHandler, format_error, open_standard_streams, print_stderr

EXIT_USER_ERROR = 2
EXIT_STOPPED = 3
EXIT_INTERRUPTED = 130
EXIT_CLOSED_PIPE = 141  # like programs that SIGPIPE ends
ENTRY_POINTS = ("t2vgan ", "python -m t2vgan ")  # one of them begins argv[0] under t2vgan.__main__
TYRO_HELP = tyro_arguments.generate_argument_helptext

Parsed = TypeVar("Parsed")


def run(main: Callable[[], int | None]) -> NoReturn:
    """Run a command and exit with its code.

    User errors (`UserError`), system errors (`OSError`: a full disk, a read-only folder) and lack
    of memory print one line to stderr and exit with code 2; a run that had to stop and may be
    restarted (`RunStoppedError`) prints one line and exits with 3. A closed output pipe and Ctrl-C
    have exit codes of their own. Any other exception is a bug and keeps its traceback.
    """
    open_standard_streams()
    logging.lastResort = StderrHandler(logging.WARNING)
    try:
        sys.exit(main() or 0)
    except (UserError, OSError) as error:
        if isinstance(error, BrokenPipeError) and close_output_without_reader():
            sys.exit(EXIT_CLOSED_PIPE)
        if not isinstance(error, AlreadyReportedError):
            print_stderr(f"error: {format_error(error)}")
        if barrier := getattr(error, "barrier", None):
            barrier()
        sys.exit(EXIT_USER_ERROR)
    except RunStoppedError as error:
        print_stderr(f"stopped: {format_error(error)}")
        sys.exit(EXIT_STOPPED)
    except MemoryError:
        print_stderr("error: out of memory; use smaller inputs, or a machine with more memory")
        sys.exit(EXIT_USER_ERROR)
    except KeyboardInterrupt:
        print_stderr("interrupted")
        sys.exit(EXIT_INTERRUPTED)


def close_output_without_reader() -> bool:
    """Send stdout nowhere if its reader is gone; return whether it is."""
    poll = select.poll()
    poll.register(sys.stdout, 0)
    if not any(events & select.POLLERR for _, events in poll.poll(0)):
        return False
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())  # Python flushes the rest at exit
    os.close(nowhere)
    return True


def program() -> str:
    """Return the command that was started, as named in messages."""
    if sys.argv[0].startswith(ENTRY_POINTS):
        return sys.argv[0]
    if (spec := sys.modules["__main__"].__spec__) is not None:
        return f"python -m {spec.name.removesuffix('.__main__')}"
    return f"python {Path(sys.argv[0]).name}"


def call(function: Callable[..., Parsed]) -> Parsed:
    """Call a function with the command line's arguments; raises like `parse`."""

    @functools.wraps(function)
    def bind(*arguments: Any, **named: Any) -> Callable[[], Parsed]:
        return functools.partial(function, *arguments, **named)

    return parse(bind)()


def parse(command: Callable[..., Parsed], *, prog: str | None = None, **options: Any) -> Parsed:
    """Build `command` from the command line; `options` are those of tyro.cli.

    Raises:
        UserError: an option is unknown, missing or has an invalid value.
        ValidationError: a pydantic model rejects its values, in a section or as a whole.
    """

    prog = prog or program()
    markers = (tyro.conf.PositionalMetavarFromFieldName, *options.get("config", ()))
    options["config"] = markers
    options["args"] = [expand_home(text) for text in options.get("args", sys.argv[1:])]

    def refuse(event: tyro_errors.ParseErrorEvent) -> None:
        error = sys.exception()  # a model's own error, or tyro's in place of it for a section
        for cause in (error, error and error.__context__):
            if isinstance(cause, ValidationError):
                raise cause
        if message := describe_mistake(event, command, options):
            raise UserError(f"{message} ({prog} --help lists all)") from None

    tyro_arguments.generate_argument_helptext = format_help
    with tyro_errors.on_parse_error(refuse):
        return tyro.cli(command, prog=prog, **options)


def expand_home(argument: str) -> str:
    """Expand `~` in `--flag=~/folder`, which shells leave as it is."""
    flag, equals, value = argument.partition("=")
    if equals and flag.startswith("--") and value.startswith("~"):
        return f"{flag}={os.path.expanduser(value)}"
    return argument


def format_help(arg: tyro_arguments.ArgumentDefinition, *args: Any, **options: Any) -> Any:
    """Format an option's help like tyro, without the docstring's line breaks."""
    text = arg.field.helptext() if callable(arg.field.helptext) else arg.field.helptext
    field = replace(arg.field, helptext=text and " ".join(text.split()))
    return TYRO_HELP(replace(arg, field=field), *args, **options)


@contextmanager
def naming_flags(*names: str) -> Iterator[None]:
    """Spell arguments as flags in errors: `--num-clips 3`, not `num_clips=3`."""
    try:
        yield
    except UserError as error:
        name, equals, rest = str(error).partition("=")
        if equals and name in names:
            error.args = (f"--{name.replace('_', '-')} {rest}",)
        raise


def describe_mistake(
    event: tyro_errors.ParseErrorEvent, command: Callable[..., Any], options: dict[str, Any]
) -> str | None:
    """Describe one of tyro's parse errors.

    Return None for other kinds, for which tyro prints its own message.
    """
    match event:
        case tyro_errors.UnrecognizedArgs(tokens=tokens):
            known = list_options(command, options)  # the first two are -h and --help
            close = [
                name
                for token in tokens
                for name in difflib.get_close_matches(token, known, cutoff=0.7)
            ]
            hint = f"; nearest: {', '.join(dict.fromkeys(close))}" if close else ""
            values = list_options(command, options, flags=False)
            if values and values[0] in known[2:3] and not tokens[0].startswith("-"):
                words = add_unquoted_start(tokens, values[0], options["args"])
                hint = f"; did you mean {values[0]} {shlex.quote(' '.join(words))}?"
            return f"Unrecognized options: {', '.join(tokens)}{hint}"
        case tyro_errors.MissingArgs(missing_arguments=missing, unrecognized_tokens=tokens):
            names = [context.arg.get_invocation_text()[1].as_str_no_ansi() for context in missing]
            unknown = f"; unrecognized: {', '.join(tokens)}" if tokens else ""
            return f"Missing from {event.prog}: {', '.join(names)}{unknown}"
        case tyro_errors.BadValue(argument=argument, reason="too_few_values"):
            name = argument.display_name()
            if argument.is_positional():
                name = argument.get_invocation_text()[1].as_str_no_ansi()
                return f"Missing from {event.prog}: {name}, which is given without a flag"
            return f"Missing value for argument '{name}'. Expected {argument.lowered.nargs} values."
        case tyro_errors.InvalidChoice(argument=argument, value=value, choices=choices):
            name = argument.display_name()
            return f"Invalid choice '{value}' for argument '{name}'. Expected one of {choices}."
        case tyro_errors.InstantiationFailure(argument=argument, message=message):
            return f"Error parsing {argument.display_name()}: {message}" if argument else message
    return None


def add_unquoted_start(words: list[str], flag: str, arguments: Sequence[str]) -> list[str]:
    """Prepend a flag's value to the unquoted words after it."""
    for place, argument in enumerate(arguments):
        text = list(arguments[place + 1 : place + 2 + len(words)])
        if argument == flag and text[1:] == words and not any(" " in part for part in text):
            return text
    return words


def list_options(
    command: Callable[..., Any], options: dict[str, Any], *, flags: bool = True
) -> list[str]:
    """List the options that a command has, with or without its flags."""
    settings = {name: value for name, value in options.items() if name != "args"}
    with warnings.catch_warnings(action="ignore"):  # deprecated without a replacement
        parser = tyro.extras.get_parser(command, **settings)
    return [
        name
        for action in parser._actions
        if flags or action.nargs != 0
        for name in action.option_strings
    ]


def nearest(name: str, known: Iterable[str]) -> str:
    """List the known names close to a mistyped one, or all."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.4)
    return f"nearest: {', '.join(close)}" if close else f"known: {', '.join(known)}"
