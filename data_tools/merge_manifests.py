"""Join what the tasks of a divided packing made: `python -m data_tools.merge_manifests DIR`."""

from pathlib import Path

import tyro
from tyro.conf import Positional

from t2vgan import cli


def main() -> None:
    """Merge in the folder that the command line names."""
    tyro.cli(merge_manifests, prog="python -m data_tools.merge_manifests")


def merge_manifests(folder: Positional[Path]) -> None:
    """Check that every task's shards are whole, then write failures.jsonl and manifest.json.

    Args:
        folder: The --out of the tasks.
    """
    from data_tools.finishing import merge_journals, summary

    print(f"{folder}: {summary(merge_journals(folder))}")


if __name__ == "__main__":
    cli.run(main)
