"""What it takes to make a run again: its commands, hardware and settings."""

import json
import shlex
from collections.abc import Iterator
from typing import Any

from t2vgan.report.html import Markup, tag
from t2vgan.report.records import Record, Run, number, table, text, texts
from t2vgan.report.scores import facts

NUM_EVALUATED = 2000  # clips, as published numbers ask for
RENDERED = {"num_clips", "size", "seed"}  # options of build_shards, which scenes keep


def commands(run: Run) -> Markup:
    """Show the commands from a checkout to this page."""
    folder = shlex.quote(str(run.run_dir))
    asked = table(run.config, "data")
    mix = texts(asked, "mix")
    data = shlex.quote("DATA" if mix else text(asked, "path") or "DATA")
    protocol = table(run.final_evaluation, "protocol")
    prompts = texts(run.samples[-1], "prompts") if run.samples else []
    prompt = shlex.quote(prompts[-1] if prompts else "circle moving up-right")
    num_clips = number(protocol, "num_clips") or NUM_EVALUATED
    out = shlex.quote(str(run.run_dir / "evaluation.json"))
    evaluate = (
        f"python -m t2vgan.evaluation --weights {folder}"
        f" {f'--mix {shlex.join(mix)}' if mix else f'--data {data}'}"
        f" --num-clips {num_clips:.0f} --seed {number(protocol, 'seed') or 0:.0f} --out {out}"
    )
    drawn = run.evaluations or text(protocol, "weights_sha256")  # not a folder of videos
    steps = [
        *_checkout(run.environment),
        *_build(run.data, data),
        ("train (the same command again resumes)", _command(run.environment.get("command"))),
        ("generate", f"python generate.py --weights {folder} --prompt {prompt}"),
        ("evaluate", evaluate if drawn else None),
        ("this page", f"python -m t2vgan.report {folder}"),
    ]
    lines = (f"# {what}\n{command}" for what, command in steps if command)
    return tag("pre", "\n\n".join(lines), tabindex=0)


def _checkout(environment: Record) -> Iterator[tuple[str, str]]:
    commit = text(environment, "git_commit")
    if commit:
        changed = " (its files had changes that no commit has)" if commit.endswith("+") else ""
        checkout = f"git checkout {shlex.quote(commit.rstrip('+'))}"
        yield f"the code{changed}", f"{checkout} && pip install -e ."


def _build(data: Record, folder: str) -> Iterator[tuple[str, str]]:
    """Name the command that builds the data, where the data are rendered."""
    config, builder = table(data, "builder_config"), text(data, "builder")
    if builder is None:
        return
    if not config.keys() >= RENDERED:
        yield f"the data: packed by {builder}, fingerprint", f"# {text(data, 'fingerprint')}"
        return
    options = " ".join(
        f"--{key.replace('_', '-')} {shlex.quote(str(config[key]))}" for key in config
    )
    command = f"python -m data_tools.build_shards {shlex.quote(builder)} --out {folder} {options}"
    yield "the data", command


def _command(value: Any) -> str | None:
    """Return the training command, from one string or a list of arguments."""
    if isinstance(value, list):
        return shlex.join(map(str, value))
    return value if isinstance(value, str) and value else None


def hardware(run: Run) -> Markup | None:
    """List device, processes, versions, and the data."""
    environment = {name: value for name, value in flat(run.environment) if name != "command"}
    data = {
        f"data {name}": value
        for name, value in flat(run.data)
        if name in ("builder", "fingerprint", "num_clips", "num_prompts", "num_held_out_prompts")
    }
    return facts(environment | data)


def settings(run: Run) -> Markup:
    """Show every setting by the name of its command-line option."""
    rows = (
        tag("tr", tag("th", name, scope="row"), tag("td", value))
        for name, value in flat(run.config)
    )
    summary = tag("summary", "Every setting, by its option of train.py")
    return tag("details", summary, tag("table", *rows, class_="config"))


def flat(node: Record, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the settings of a config by their dotted names."""
    for key, value in node.items():
        if isinstance(value, dict) and value:
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)
