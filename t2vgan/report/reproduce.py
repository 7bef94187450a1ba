"""List the commands, hardware and settings that reproduce a run.

The commands are meant to be pasted into a shell, but a run's files may come from anyone. So every
line is made by `format_command` from words that a shell does not interpret, and whatever is not a
valid name, commit or training command is left out.
"""

import json
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

from t2vgan.config.run import PUBLISHED_CLIPS
from t2vgan.report.records import Run
from t2vgan.utils.console import escape_control_chars
from t2vgan.utils.records import Record, get_number, get_record, get_text, get_texts

RENDERED = {"num_clips", "size", "seed"}  # options of build_shards that manifests record
DATA_KEYS = {"builder", "fingerprint", "num_clips", "num_prompts", "num_held_out_prompts"}
SCENE, OPTION = re.compile(r"[a-z][a-z0-9_-]*"), re.compile(r"[a-z][a-z0-9_]*")
COMMIT = re.compile(r"([0-9a-f]{4,64})(\+?)")
TRAINERS = (["-m", "t2vgan", "train"], ["t2vgan", "train"], ["train.py"])  # after the launcher


def format_command(*parts: str) -> str:
    """Join words into one line, quoted for a shell.

    Control characters, which a terminal would interpret even in quotes, become question marks.
    """
    return shlex.join(map(escape_control_chars, parts))


def format_commands(run: Run) -> str:
    """Return the commands from checking out the code to this report."""
    folder = str(run.run_dir)
    asked = get_record(run.config, "data")
    mix = [entry for entry in get_texts(asked, "mix") if not entry.startswith("-")]
    data = get_text(asked, "path") if not mix else None
    protocol = get_record(run.final_evaluation, "protocol")
    prompts = get_texts(run.samples[-1], "prompts") if run.samples else []
    weights = _option("--weights", folder)
    evaluate = [
        *weights,
        *(["--mix", *mix] if mix else _option("--data", data or "DATA")),
        *_option("--num-clips", f"{get_number(protocol, 'num_clips') or PUBLISHED_CLIPS:.0f}"),
        *_option("--seed", f"{get_number(protocol, 'seed') or 0:.0f}"),
        *_option("--out", str(run.run_dir / "evaluation.json")),
    ]
    prompt = _option("--prompt", prompts[-1] if prompts else "circle moving up-right")
    drawn = run.evaluations or get_text(protocol, "weights_sha256")  # not a folder of videos
    training = _find_training_command(run.environment.get("command"))
    steps = [
        *_checkout_commands(run.environment),
        *_build_commands(run.data, data or "DATA"),
        ("train: the same command again resumes", training and format_command(*training)),
        ("generate", format_command("t2vgan", "generate", *weights, *prompt)),
        ("evaluate", format_command("t2vgan", "evaluate", *evaluate) if drawn else None),
        ("this page", format_command("t2vgan", "report", _as_argument(folder))),
    ]
    return "\n\n".join(f"# {what}\n{command}" for what, command in steps if command)


def _option(name: str, value: str) -> list[str]:
    """Return an option's words; its value is never read as another option."""
    return [f"{name}={value}"] if value.startswith("-") else [name, value]


def _as_argument(path: str) -> str:
    """Return a path that is not parsed as an option."""
    return f"./{path}" if path.startswith("-") else path


def _checkout_commands(environment: Record) -> Iterator[tuple[str, str]]:
    """Yield the command that checks out the code, given a commit."""
    if match := COMMIT.fullmatch(get_text(environment, "git_commit") or ""):
        changed = ", without the run's uncommitted changes" if match[2] else ""
        yield f"the code{changed}", f"git checkout {match[1]} && pip install -e ."


def _build_commands(data: Record, folder: str) -> Iterator[tuple[str, str]]:
    """Yield the command that builds the data, if they are rendered."""
    config, builder = get_record(data, "builder_config"), get_text(data, "builder")
    if builder is None:
        return
    if not config.keys() >= RENDERED:
        by, sha256 = format_command(builder), get_text(data, "fingerprint") or "unknown"
        yield f"the data: packed by {by}, fingerprint", f"# {format_command(sha256)}"
    elif SCENE.fullmatch(builder) and all(map(OPTION.fullmatch, config)):
        options = [
            part
            for key, value in config.items()
            for part in _option(f"--{key.replace('_', '-')}", str(value))
        ]
        out = _option("--out", folder)
        yield "the data", format_command("t2vgan", "build", builder, *out, *options)


def _find_training_command(value: Any) -> Sequence[str] | None:
    """Split a training command, given as a string or a list.

    Return None for other commands: a launcher or Python that runs anything but t2vgan's training.
    """
    try:
        parts = list(map(str, value)) if isinstance(value, list) else shlex.split(value or "")
    except (AttributeError, TypeError, ValueError):  # not text, or an unclosed quote
        return None
    num_launcher = 2 if parts[:2] == ["accelerate", "launch"] else 1
    is_launcher = num_launcher == 2 or re.fullmatch(
        r"torchrun|python[0-9.]*", PurePath(parts[0]).name if parts else ""
    )
    called = parts[num_launcher:]
    called = called[1:] if called[:1] == ["-u"] else called
    if called[:1] != ["-m"]:
        called = [PurePath(name).name for name in called[:1]] + called[1:]
    is_training = any(called[: len(trainer)] == trainer for trainer in TRAINERS)
    return parts if is_launcher and is_training else None


def list_hardware(run: Run) -> list[tuple[str, str]]:
    """Return (name, value) of device, processes, versions and data."""
    environment = [
        (name, value) for name, value in flatten_record(run.environment) if name != "command"
    ]
    data = [
        (f"data {name}", value) for name, value in flatten_record(run.data) if name in DATA_KEYS
    ]
    return environment + data


def flatten_record(node: Record, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield a record's (dotted name, value as text) pairs."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from flatten_record(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)
