"""Wrong command lines give one line, right ones their values."""

import errno
import logging
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.machinery import ModuleSpec

import pytest
import tyro
from pydantic import BaseModel, Field, ValidationError

from t2vgan.errors import UserError
from t2vgan.utils import cli
from t2vgan.utils.console import StderrHandler, format_error, print_stderr, print_stdout
from tests.support.commands import ROOT


@dataclass
class Options:
    """Options of a command."""

    num_steps: int
    """Steps to take, which is explained at such length that no terminal of the usual width of
    eighty columns could show the explanation in one line."""
    fast: bool = False
    """Hurry."""


class Section(BaseModel):
    rate: float = Field(default=1.0, gt=0)


class Command(BaseModel):
    section: Section = Section()


def parse(*arguments, command=Options):
    return cli.parse(command, prog="command", args=arguments)


def test_a_right_command_line_gives_its_values():
    assert parse("--num-steps", "3") == Options(num_steps=3)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ((), "Missing from command: --num-steps INT"),
        (("--num-stepz", "3"), "Missing from command: --num-steps INT"),
        (("--num-steps", "3", "--fest"), "Unrecognized options: --fest; nearest: --fast"),
        (("--num-steps", "3", "a b"), "Unrecognized options: a b; did you mean --num-steps 'a b'?"),
        (("--num-steps", "3", "a", "b"), "did you mean --num-steps '3 a b'?"),
        (("--num-steps", "x"), "Error parsing --num-steps: invalid literal for int() *: 'x'"),
        (("--num-steps",), "Missing value for argument '--num-steps'. Expected 1 values."),
    ],
)
def test_a_wrong_one_is_one_line_without_the_options_own_help(arguments, line, capsys):
    with pytest.raises(UserError) as refusal:
        parse(*arguments)
    message = str(refusal.value)
    for part in line.split("*"):
        assert part in message
    assert message.endswith(" (command --help lists all)")
    assert "explained" not in message
    assert not set("│╭─\n\x1b") & set(message)
    assert capsys.readouterr() == ("", "")


def copy(out: str) -> str:
    return out


def show(folder: tyro.conf.Positional[str], once: bool = False) -> str:
    return folder


@pytest.mark.parametrize("arguments", [("--folder", "a"), ("--folder", "a", "--once")])
def test_an_argument_without_a_flag_is_named_as_one(arguments):
    line = "Missing from command: FOLDER, which is given without a flag"
    with pytest.raises(UserError, match=line):
        parse(*arguments, command=show)


def test_a_home_that_the_shell_left_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    for given, found in (("~/a", "/home/me/a"), ("a~/b", "a~/b"), ("~", "/home/me")):
        assert parse(f"--out={given}", command=copy) == found


def test_errors_name_arguments_as_they_are_typed():
    for message, typed in (
        ("num_clips=3: too few", "--num-clips 3: too few"),
        ("seed=3: too small", "seed=3: too small"),
        ("the data has num_clips=3", "the data has num_clips=3"),
    ):
        with pytest.raises(UserError) as refusal, cli.naming_flags("num_clips"):
            raise UserError(message)
        assert str(refusal.value) == typed


def test_models_refuse_their_values_themselves():
    with pytest.raises(ValidationError, match="greater than 0"):
        parse("--section.rate", "-1", command=Command)


def test_help_is_printed_and_leaves_with_zero(capsys):
    with pytest.raises(SystemExit) as leaving:
        parse("--help")
    assert leaving.value.code == 0
    assert "--num-steps" in capsys.readouterr().out


def test_a_function_is_called_with_what_the_command_line_says(monkeypatch, capsys):
    def function(number: int, *, twice: bool = False) -> int:
        """Do something.

        Args:
            number: A number.
            twice: Double it.
        """
        print("progress", file=sys.stderr)
        return 2 * number if twice else number

    monkeypatch.setattr(sys, "argv", ["command", "--number", "4", "--twice"])
    assert cli.call(function) == 8
    assert capsys.readouterr().err == "progress\n"
    monkeypatch.setattr(sys, "argv", ["command", "--number", "four"])
    with pytest.raises(UserError, match="--number"):
        cli.call(function)


@pytest.mark.parametrize(
    ("arguments", "module", "expected"),
    [
        (["./train.py", "quickstart"], None, "python train.py"),
        (["/t2vgan/report/__main__.py"], "t2vgan.report.__main__", "python -m t2vgan.report"),
        (["/data_tools/reshard.py"], "data_tools.reshard", "python -m data_tools.reshard"),
        (["t2vgan pack", "videos"], None, "t2vgan pack"),
        (["python -m t2vgan pack"], "t2vgan.__main__", "python -m t2vgan pack"),
    ],
)
def test_messages_name_the_command_as_it_was_started(arguments, module, expected, monkeypatch):
    spec = module and ModuleSpec(module, loader=None)
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", spec)
    assert cli.program() == expected


def test_a_terminal_without_utf8_gets_the_same_line():
    code = (
        "from t2vgan.utils import cli\n"
        "def function(number: int = 0): ...\n"
        "cli.run(lambda: cli.call(function))\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, "--numbr", "3"],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    message = "Unrecognized options: --numbr, 3; nearest: --number (python -c --help lists all)"
    assert result.stderr == f"error: {message}\n"


def test_text_of_others_does_not_move_the_terminal(capsys):
    text = "a\x1b[2J\rb\udc80\u202ec\nd"
    print_stdout(text)
    print_stderr(text)
    record = logging.LogRecord("t2vgan", logging.WARNING, __file__, 1, "%s", (text,), None)
    StderrHandler().handle(record)  # not by a logger, whose text pytest could not send on
    out, err = capsys.readouterr()
    assert out == "a?[2J?b??c\nd\n"
    assert err == f"{out}warning: {out}"


@pytest.mark.parametrize("arguments", [["--help"], ["build", "--help"]])
def test_output_that_nobody_reads_on_is_no_mistake(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "t2vgan", *arguments]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    os.close(writer)
    assert (done.returncode, done.stderr) == (cli.EXIT_CLOSED_PIPE, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_mistake(closed, tmp_path):
    command = f"{sys.executable} -m t2vgan demo-videos --num-videos 1 --out {tmp_path / 'videos'}"
    done = subprocess.run(f"{command} {closed}", shell=True, cwd=ROOT, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert (tmp_path / "videos" / "0000.mp4").stat().st_size > 1000


def test_a_broken_pipe_elsewhere_is_reported(capfd):
    def send() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe", "worker")

    with pytest.raises(SystemExit, match=str(cli.EXIT_USER_ERROR)):
        cli.run(send)
    assert capfd.readouterr().err == "error: worker: Broken pipe\n"


def test_a_terminal_of_few_characters_shows_question_marks():
    code = (
        "from t2vgan.utils import cli, console\n"
        "cli.run(lambda: console.print_stdout('carr\u00e9 \u28ff'))\n"
    )
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert (done.stdout, done.stderr) == ("carr? ?\n", "")


def test_a_message_is_one_line_of_bounded_length():
    line = format_error(FileNotFoundError(2, "No such file", "x" * 5000))
    assert len(line) < 3100
    assert line.startswith("xxx")
    assert line.endswith("No such file")
