"""Join what the tasks of a divided packing made: `python -m data_tools.merge_manifests DIR`."""

from tyro.conf import Positional

from t2vgan.utils import cli

from .build.options import command_line


def main() -> None:
    """Merge in the folder that the command line names."""
    cli.call(merge_manifests, prog=command_line("merge_manifests"))


def merge_manifests(folder: Positional[str]) -> None:
    """Check that every task's shards are whole, then write failures.jsonl and manifest.json.

    Args:
        folder: The --out of the tasks, a folder or a URL.
    """
    from .build.destination import open_destination
    from .build.runner import merge_journals, summary

    with open_destination(folder) as out:
        print(f"{out}: {summary(merge_journals(out))}")


if __name__ == "__main__":
    cli.run(main)
