"""Write new shards from data sets: `python -m data_tools.reshard DIR --out DIR`."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from tyro.conf import Positional

from t2vgan.errors import UserError
from t2vgan.utils import cli, console
from t2vgan.utils.console import print_stdout

from .build.options import check_at_least, exit_on_sigterm


@dataclass(frozen=True)
class ReshardOptions:
    """Write clips of finished data sets into new shards.

    Clips are copied without re-encoding. Every new shard holds its share of each data set. To
    continue an interrupted run, run the same command again.
    """

    folders: Positional[list[Path]]
    """Folders of the data sets, all with the same geometry."""
    out: str
    """Output folder for the new shards, or its URL."""
    clips_per_shard: int = 500
    """Clips per new shard."""
    weights: list[float] = field(default_factory=list)
    """One weight per data set, by default 1: 0.5 keeps half of its clips, 2 writes each twice."""
    match: str = ""
    """Keep only clips with a caption in which this regular expression finds a match."""
    min_motion: float = 0.0
    """Keep only clips whose mean change in colour value from frame to frame is at least this
    (0 to 255)."""
    drop_duplicates: bool = False
    """Leave out near duplicates of an earlier clip, across all data sets."""
    seed: int = 0
    """Seed of the choice by weights and of the order of clips inside a shard."""
    workers: int = os.cpu_count() or 1
    """Number of worker processes."""


def main() -> None:
    """Run the command."""
    options = cli.parse(ReshardOptions)
    exit_on_sigterm()
    reshard(options)


def reshard(options: ReshardOptions) -> None:
    """Check the options, choose the clips and write the missing shards."""
    from .build.reshard_plan import Selection, choose
    from .build_shards import build

    check_at_least(1, options, "clips_per_shard", "workers")
    check_at_least(0, options, "min_motion", "seed")
    if not options.folders:
        raise UserError(f"give at least one data set: {cli.program()} DIR --out DIR")
    weights = tuple(options.weights) or (1.0,) * len(options.folders)
    if len(weights) != len(options.folders) or not all(0 < w < float("inf") for w in weights):
        raise UserError(
            f"--weights {weights}: give one number above 0 for each of the"
            f" {len(options.folders)} data sets"
        )
    try:
        re.compile(options.match)
    except re.error as error:
        raise UserError(f"--match {options.match!r}: {error}") from None
    selection = Selection(
        weights, options.match, options.min_motion, options.drop_duplicates, options.seed
    )
    plan = choose(options.folders, selection, options.clips_per_shard)
    for folder, manifest, picks in zip(options.folders, plan.manifests, plan.picks, strict=True):
        print_stdout(f"{folder}: {len(picks)} of {manifest.num_samples} clips")
    if plan.faults:
        console.show_some(plan.faults)
        print_stdout(f"{len(plan.faults)} samples cannot be used and are left out")
    build(plan, options.out, num_workers=options.workers)


if __name__ == "__main__":
    cli.run(main)
