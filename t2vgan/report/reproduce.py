"""List the commands, hardware and settings that reproduce a run."""

import json
import shlex
from collections.abc import Iterator
from typing import Any

from t2vgan.report.records import Record, Run, get_number, get_record, get_text, get_texts

NUM_EVALUATED = 2000  # clips, as published numbers ask for
RENDERED = {"num_clips", "size", "seed"}  # options of build_shards, which scenes keep
DATA_KEYS = {"builder", "fingerprint", "num_clips", "num_prompts", "num_held_out_prompts"}


def format_commands(run: Run) -> str:
    """Return the commands from a checkout to this page."""
    folder = shlex.quote(str(run.run_dir))
    asked = get_record(run.config, "data")
    mix = get_texts(asked, "mix")
    data = shlex.quote("DATA" if mix else get_text(asked, "path") or "DATA")
    protocol = get_record(run.final_evaluation, "protocol")
    prompts = get_texts(run.samples[-1], "prompts") if run.samples else []
    prompt = shlex.quote(prompts[-1] if prompts else "circle moving up-right")
    num_clips = get_number(protocol, "num_clips") or NUM_EVALUATED
    out = shlex.quote(str(run.run_dir / "evaluation.json"))
    evaluate = (
        f"t2vgan evaluate --weights {folder}"
        f" {f'--mix {shlex.join(mix)}' if mix else f'--data {data}'}"
        f" --num-clips {num_clips:.0f} --seed {get_number(protocol, 'seed') or 0:.0f} --out {out}"
    )
    drawn = run.evaluations or get_text(protocol, "weights_sha256")  # not a folder of videos
    steps = [
        *_checkout_commands(run.environment),
        *_build_commands(run.data, data),
        ("train (the same command again resumes)", _format_command(run.environment.get("command"))),
        ("generate", f"t2vgan generate --weights {folder} --prompt {prompt}"),
        ("evaluate", evaluate if drawn else None),
        ("this page", f"t2vgan report {folder}"),
    ]
    return "\n\n".join(f"# {what}\n{command}" for what, command in steps if command)


def _checkout_commands(environment: Record) -> Iterator[tuple[str, str]]:
    commit = get_text(environment, "git_commit")
    if commit:
        changed = " (its files had changes that no commit has)" if commit.endswith("+") else ""
        checkout = f"git checkout {shlex.quote(commit.rstrip('+'))}"
        yield f"the code{changed}", f"{checkout} && pip install -e ."


def _build_commands(data: Record, folder: str) -> Iterator[tuple[str, str]]:
    """Yield the command that builds the data, where they are rendered."""
    config, builder = get_record(data, "builder_config"), get_text(data, "builder")
    if builder is None:
        return
    if not config.keys() >= RENDERED:
        yield f"the data: packed by {builder}, fingerprint", f"# {get_text(data, 'fingerprint')}"
        return
    options = " ".join(
        f"--{key.replace('_', '-')} {shlex.quote(str(config[key]))}" for key in config
    )
    command = f"t2vgan build {shlex.quote(builder)} --out {folder} {options}"
    yield "the data", command


def _format_command(value: Any) -> str | None:
    """Return the training command, from one string or a list of arguments."""
    if isinstance(value, list):
        return shlex.join(map(str, value))
    return value if isinstance(value, str) and value else None


def list_hardware(run: Run) -> list[tuple[str, str]]:
    """Return device, processes, versions and the data, by name."""
    environment = [(name, value) for name, value in flatten(run.environment) if name != "command"]
    data = [(f"data {name}", value) for name, value in flatten(run.data) if name in DATA_KEYS]
    return environment + data


def flatten(node: Record, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield a record's values by their dotted names, as texts."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)
