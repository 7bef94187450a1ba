"""Train a text-to-video GAN: `t2vgan train PRESET [--section.field value ...]`.

`accelerate launch -m t2vgan train PRESET` starts several processes, as does
`accelerate launch train.py PRESET` in a checkout. To resume the run in --run-dir, run the same
command again. Nothing heavy is imported before the command line is parsed.
"""

import os
import sys
import traceback
from contextlib import suppress
from typing import Annotated, NoReturn

import tyro
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from t2vgan.config import Config
from t2vgan.config.presets import DESCRIPTIONS, PRESETS
from t2vgan.errors import UserError
from t2vgan.training.signals import find_launcher
from t2vgan.utils import cli
from t2vgan.utils.console import print_loading, print_stdout
from t2vgan.utils.frozen import format_faults


class Command(BaseModel):
    """Train a text-to-video GAN.

    To resume the run in --run-dir, run the same command again.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)

    config: Annotated[Config, tyro.conf.arg(name="")]
    dry_run: bool = False
    """Print what would be done, its size and its cost, without writing anything."""
    preflight: bool = False
    """Check devices, links, folders, shards and versions on every rank, without training."""
    rollback: bool = False
    """After a stop because of bad steps: resume from before them, with the data in another
    order."""
    exit_code_when_stopped: Annotated[int, Field(ge=0, le=255)] = 0
    """Exit code of a run that was saved and stopped by a signal before it was complete; schedulers
    that restart runs need a distinct code (the launch files use 75)."""


def read(arguments: list[str]) -> Command:
    """Parse the command line; exit with usage if no preset is named."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print_stdout(format_usage())
        sys.exit(0 if arguments else 2)
    preset, *options = arguments
    if preset.startswith("-"):
        raise UserError(f"the preset must come before {preset}; known: {', '.join(PRESETS)}")
    if preset not in PRESETS:
        raise UserError(f"no preset named {preset!r}; {cli.nearest(preset, PRESETS)}")
    sections = {type(value).__name__: name for name, value in PRESETS[preset]}
    try:
        return cli.parse(
            Command,
            prog=f"{cli.program()} {preset}",
            default=Command(config=PRESETS[preset]),
            args=options,
            config=(tyro.conf.AvoidSubcommands,),
        )
    except ValidationError as error:
        raise UserError(format_faults(error, sections.get(error.title, ""))) from None


def format_usage() -> str:
    """Return the usage with the list of presets."""
    program = cli.program()
    launched = program.removeprefix("python ") if "python " in program else f"-m {program}"
    return "\n".join(
        [
            f"usage: {program} PRESET [--section.field value ...]",
            f"   or: accelerate launch {launched} PRESET [--section.field value ...]",
            "",
            "Train a text-to-video GAN. The same command again resumes the run in its --run-dir.",
            "",
            "presets:",
            *(f"  {name:12} {text}" for name, text in DESCRIPTIONS.items()),
            "",
            "main options:",
            "  --data.path DIR   shards, made by t2vgan build or t2vgan pack",
            "  --run-dir DIR     folder for everything that the run writes",
            "  --dry-run         print sizes and cost, and write nothing",
            "",
            f"{program} PRESET --help lists every option with the preset's value",
        ]
    )


def train() -> int:
    """Train, or only check, and return the exit code."""
    launcher = find_launcher()  # early: it may die while torch is imported
    command = read(sys.argv[1:])
    print_loading(f"PyTorch, and {command.config.data.name}")
    # Set before torch is imported: its C++ warnings, such as DDP's for each rank about
    # find_unused_parameters, would hide our lines.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    if command.dry_run:
        from t2vgan.training.dry_run import dry_run

        return dry_run(command.config)
    if command.preflight:
        from t2vgan.training.preflight import preflight

        return preflight(command.config)
    from t2vgan.training.trainer import Trainer

    trainer = Trainer(command.config, launcher=launcher, rollback=command.rollback)
    return 0 if trainer.run() else command.exit_code_when_stopped


def main() -> NoReturn:
    """Run the command and exit, without teardown if distributed."""
    try:
        cli.run(train)
    except SystemExit as stop:
        exit_process(int(stop.code or 0))
    except Exception:
        traceback.print_exc()
        exit_process(1)


def exit_process(code: int) -> NoReturn:
    """Exit; in a distributed run, without tearing down the process group.

    Teardown could wait for members that are gone, or abort.
    """
    if os.environ.get("WORLD_SIZE", "1") != "1":
        with suppress(OSError):  # a closed stream
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
