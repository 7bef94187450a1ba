"""Tables of the training options, from the models that the command line is built of."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import BaseModel

from t2vgan.commands.train import Command
from t2vgan.config import ClipGanConfig, Config, DataConfig, TrainConfig
from t2vgan.config.presets import DESCRIPTIONS, PRESETS
from t2vgan.utils.frozen import flatten

SECTIONS: dict[str, tuple[str, type[BaseModel], str]] = {
    "The run": ("", Config, "Folders, intervals and limits of a run."),
    "Data": ("data.", DataConfig, "The shards and their order."),
    "Networks": (
        "model.",
        ClipGanConfig,
        "The clip GAN, the networks of all presets but `notebook`.",
    ),
    "Recipe": ("train.", TrainConfig, "Losses, optimizers and schedules."),
    "One start": ("", Command, "Options of one start, which no file records."),
}
"""Title -> prefix of its options, model, what they are."""
FIXED = {"kind"}  # chosen by the preset
PATHS = {"run_dir", "data.path"}  # of a preset, named beside its description
UNITS = {"integer": "whole number", "number": "number", "string": "text"}
NOTHING = "none"


class Option(NamedTuple):
    """One option of the command line."""

    name: str
    """As in a config, such as train.num_steps."""
    type: str
    default: str
    meaning: str

    @property
    def flag(self) -> str:
        return f"--{self.name.replace('_', '-')}"


def list_options(prefix: str, model: type[BaseModel]) -> Iterator[Option]:
    """Yield the options of one section."""
    for name, field in model.model_json_schema()["properties"].items():
        if name not in FIXED and not is_section(field):
            yield Option(
                prefix + name,
                describe_type(field),
                format_value(field["default"]),
                " ".join(field["description"].split()),
            )


def is_section(field: dict[str, Any]) -> bool:
    """Return whether a field holds a section of options instead of a value."""
    return not field.keys() & {"type", "anyOf", "enum", "const"}


def describe_type(field: dict[str, Any]) -> str:
    """Return a JSON schema's type and rule in words."""
    match field:
        case {"anyOf": kinds}:
            return " or ".join(describe_type(kind) for kind in kinds)
        case {"enum": values}:
            return ", ".join(f"`{value}`" for value in values)
        case {"const": value}:
            return f"`{value}`"
        case {"format": "path"}:
            return "path"
        case {"type": "null"}:
            return "`None`"
        case {"type": "boolean"}:
            return "`True`, `False`"
        case {"type": "array", "items": items}:
            return f"any number of: {describe_type(items)}"
    return UNITS[field["type"]] + describe_range(field)


def describe_range(field: dict[str, Any]) -> str:
    """Return a JSON schema's bounds in words."""
    bounds = [
        f"{word} {field[key]:g}"
        for key, word in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "above"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "below"),
        )
        if key in field
    ]
    return f" {', '.join(bounds)}" if bounds else ""


def format_value(value: Any) -> str:
    """Return a value as it is typed on the command line."""
    if value is None or value in ((), []):
        return NOTHING
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def format_options() -> str:
    """Return a section with a table for each part of the config."""
    parts = []
    for title, (prefix, model, text) in SECTIONS.items():
        rows = [
            [
                f'<a id="{option.name}"></a>`{option.flag}`',
                option.type,
                option.default,
                option.meaning,
            ]
            for option in list_options(prefix, model)
        ]
        table = format_table(["option", "type", "default", "meaning"], rows)
        parts += [f"## {title}", text, f'<div class="options" markdown>\n\n{table}\n\n</div>']
    return "\n\n".join(parts)


def format_presets() -> str:
    """Return a list of the presets, and a table of the options that one of them sets."""
    described = "\n".join(
        f"- `{name}`: {text}; `--data.path {PRESETS[name].data.path}`,"
        f" `--run-dir {PRESETS[name].run_dir}`"
        for name, text in DESCRIPTIONS.items()
    )
    defaults = flatten(Config())
    values = {name: flatten(PRESETS[name]) for name in DESCRIPTIONS}
    names = dict.fromkeys([*defaults, *(name for preset in values.values() for name in preset)])
    rows = [
        [
            f"`{name}`",
            format_value(defaults[name]),
            *(format_change(preset, defaults, name) for preset in values.values()),
        ]
        for name in names
        if name not in PATHS
        and any(name in preset and preset[name] != defaults[name] for preset in values.values())
    ]
    table = format_table(["option", "default", *values], rows)
    return f'{described}\n\n<div class="presets" markdown>\n\n{table}\n\n</div>'


def format_change(preset: dict[str, Any], defaults: dict[str, Any], name: str) -> str:
    """Return a preset's value; nothing where it is the default, or there is none."""
    if name not in preset or preset[name] == defaults[name]:
        return ""
    return format_value(preset[name])


def format_table(header: list[str], rows: list[list[str]]) -> str:
    """Return a table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    cells = ([cell.replace("|", "\\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)
