"""Run a command: `t2vgan COMMAND ...`, or `python -m t2vgan COMMAND ...`."""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from t2vgan import __version__
from t2vgan.errors import UserError
from t2vgan.utils import cli
from t2vgan.utils.console import print_stdout

GROUPS = {
    "prepare a data set": {
        "build": ("data_tools.build_shards", "render a scene into shards"),
        "pack": ("data_tools.pack_videos", "pack captioned videos into shards"),
        "index": ("data_tools.index_shards", "write a manifest for existing webdataset tars"),
        "merge": ("data_tools.merge_manifests", "merge the tasks of a packing job array"),
        "inspect": ("data_tools.inspect_shards", "show the contents of a folder of shards"),
        "verify": ("data_tools.verify_shards", "check shards: checksums, counts, every sample"),
        "repair": ("data_tools.repair_shards", "rebuild damaged shards"),
        "reshard": ("data_tools.reshard", "filter or combine data sets into new shards"),
        "demo-videos": ("data_tools.demo_videos", "create captioned videos to try the tools"),
    },
    "train": {
        "train": ("commands.train", "train a model, or resume a run"),
        "watch": ("tracking.watch.__main__", "show a run's curves in the terminal"),
        "checkpoint": ("checkpoint.__main__", "list, show and verify a run's checkpoints"),
    },
    "use and evaluate a model": {
        "generate": ("commands.generate", "turn prompts into videos"),
        "demo": ("commands.demo", "serve a web page that generates videos"),
        "export": ("commands.export", "export weights to ONNX or torch.export"),
        "evaluate": ("evaluation.__main__", "score generated videos"),
        "report": ("report.__main__", "write the HTML page of a run, or compare several"),
    },
}
"""Title -> command -> its module, what it does."""
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


def main() -> None:
    """Run the command that the first argument names."""
    cli.run(run_command)


def run_command() -> int | None:
    """Run the command that the first argument names; return its exit code."""
    program = "python -m t2vgan" if sys.argv[0].endswith(".py") else "t2vgan"
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print_stdout(format_usage(program))
        return 0
    if name == "--version":
        print_stdout(f"t2vgan {__version__}")
        return 0
    if name not in COMMANDS:
        raise UserError(f"no command named {name!r}; {cli.nearest(name, COMMANDS)}")
    sys.argv = [f"{program} {name}", *arguments]
    return import_command(name).main()


def format_usage(program: str) -> str:
    """Return the list of commands."""
    lines = [f"usage: {program} COMMAND ...", "", "Train text-to-video GANs and generate videos."]
    for title, commands in GROUPS.items():
        lines += ["", f"{title}:", *(f"  {name:12} {text}" for name, (_, text) in commands.items())]
    return "\n".join(
        [
            *lines,
            "",
            f"{program} COMMAND --help lists a command's options. A first video:",
            f'{program} generate --prompt "circle moving up-right"',
        ]
    )


def import_command(name: str) -> ModuleType:
    """Import a command's module."""
    module = COMMANDS[name][0]
    if module.startswith("data_tools.") and find_spec("t2vgan.data_tools") is None:
        return import_module(module)  # a checkout has them beside this package
    return import_module(f"t2vgan.{module}")


if __name__ == "__main__":
    main()
