"""Merge the output of pack tasks: `python -m data_tools.merge_manifests DIR`."""

from tyro.conf import Positional

from t2vgan.utils import cli
from t2vgan.utils.console import print_stdout


def main() -> None:
    """Run the command."""
    cli.call(merge_manifests)


def merge_manifests(folder: Positional[str]) -> None:
    """Check the shards of all tasks; write failures.jsonl and manifest.json.

    Args:
        folder: The tasks' --out, a folder or a URL.
    """
    from .build.destination import open_destination
    from .build.runner import format_summary, merge_journals

    with open_destination(folder) as out:
        print_stdout(f"{out}: {format_summary(merge_journals(out))}")


if __name__ == "__main__":
    cli.run(main)
