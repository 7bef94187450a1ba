"""Render scenes into webdataset shards: `python -m data_tools.build_shards circles --out DIR`."""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from t2vgan.errors import UserError
from t2vgan.utils import cli

from .build.options import check_at_least, exit_on_sigterm, parse_size

if TYPE_CHECKING:
    from .build.protocol import Build
    from .build.scene_build import BuildPlan

SCENES = ("circles", "notebook", "shapes", "shapes-textured", "shapes-two", "digits")


@dataclass(frozen=True)
class BuildOptions:
    """Render scenes into webdataset shards with a manifest.

    The same arguments give the same bytes, whatever the number of workers. Run the same command
    again to continue an interrupted build.
    """

    scene: Positional[str]
    """circles, notebook (published positions), shapes, shapes-textured, shapes-two or digits."""
    out: str
    """Folder for the shards and manifest.json, or its URL, such as s3://bucket/folder."""
    num_clips: int = 10_000
    """Number of clips."""
    clips_per_shard: int = 500
    """Clips in one shard; the last shard holds what is left."""
    num_frames: int = 10
    """Frames of a clip."""
    size: str = "64x64"
    """Height and width of a frame in pixels, as HxW."""
    seed: int = 0
    """Seed of everything that is drawn."""
    workers: int = os.cpu_count() or 1
    """Processes; 1 renders in this one."""


def main() -> None:
    """Run the command."""
    options = cli.parse(BuildOptions)
    plan = make_plan(options)
    exit_on_sigterm()
    build(plan, options.out, num_workers=options.workers)


def make_plan(options: BuildOptions) -> "BuildPlan":
    """Return the build that the options describe, or raise UserError."""
    if options.scene not in SCENES:
        near = difflib.get_close_matches(options.scene, SCENES, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"unknown scene {options.scene!r}, known: {', '.join(SCENES)}{hint}")
    check_at_least(1, options, "num_clips", "clips_per_shard", "num_frames", "workers")
    geometry = parse_size(options.size, options.num_frames)
    from .build.scene_build import BuildPlan

    return BuildPlan(
        scene=options.scene,
        num_clips=options.num_clips,
        clips_per_shard=options.clips_per_shard,
        geometry=geometry,
        seed=options.seed,
    )


def build(plan: "Build", location: Path | str, *, num_workers: int) -> None:
    """Build what is missing of a data set, the manifest last."""
    from t2vgan.data.shards import load_manifest

    from .build.destination import open_destination
    from .build.runner import complete, format_summary, is_complete

    with open_destination(location) as out:
        if is_complete(plan, out):
            print(f"{out} is already complete: {format_summary(load_manifest(out.folder))}")
            return
        complete(plan, out, num_workers=num_workers)
        print(f"{out}: {format_summary(load_manifest(out.folder))}")


if __name__ == "__main__":
    cli.run(main)
