"""Render scenes into webdataset shards: `python -m data_tools.build_shards circles --out DIR`."""

import difflib
import importlib.util
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from t2vgan.errors import UserError
from t2vgan.utils import cli
from t2vgan.utils.console import print_stdout

from .build.options import check_at_least, exit_on_sigterm, parse_size

if TYPE_CHECKING:
    from .build.protocol import Build
    from .build.scene_build import BuildPlan

SCENES = (
    *("circles", "notebook", "shapes", "shapes-textured", "shapes-two", "actions"),
    "actions-held-out",
)
NUM_FRAMES = {"actions": 16, "actions-held-out": 16}  # defaults
OTHERS_NUM_FRAMES = 10
PARAPHRASED = ("circles", "notebook", "shapes", "shapes-textured")
EXTRAS = {  # scene -> the module it needs, and the extra that installs it
    "actions": ("vizdoom", "games"),
    "actions-held-out": ("vizdoom", "games"),
}


@dataclass(frozen=True)
class BuildOptions:
    """Render scenes into webdataset shards with a manifest.

    The same arguments give the same bytes, whatever the number of workers. To continue an
    interrupted build, run the same command again.
    """

    scene: Positional[str]
    """Scene to render: circles, notebook (the published positions), shapes, shapes-textured,
    shapes-two, actions or actions-held-out (the same actions in other levels)."""
    out: str
    """Output folder for the shards and manifest.json, or its URL (s3://bucket/folder)."""
    num_clips: int = 10_000
    """Number of clips."""
    clips_per_shard: int = 500
    """Clips per shard; the last shard holds the rest."""
    num_frames: int | None = None
    """Frames per clip; by default 10, or 16 for actions and actions-held-out."""
    size: str = "64x64"
    """Height and width of a frame in pixels, as HxW."""
    seed: int = 0
    """Seed of all random choices."""
    paraphrases: int = 0
    """Number of additional captions per clip that say the same in other words, such as "a tiny
    crimson star getting bigger"; only for circles, notebook, shapes and shapes-textured."""
    workers: int = os.cpu_count() or 1
    """Number of worker processes; 1 renders in the main process."""


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
    num_frames = options.num_frames
    if num_frames is None:
        num_frames = NUM_FRAMES.get(options.scene, OTHERS_NUM_FRAMES)
    options = replace(options, num_frames=num_frames)
    check_at_least(1, options, "num_clips", "clips_per_shard", "num_frames", "workers")
    check_at_least(0, options, "paraphrases")
    check_total(options.num_clips)
    if options.paraphrases and options.scene not in PARAPHRASED:
        raise UserError(
            f"--paraphrases {options.paraphrases}: scene {options.scene} has no paraphrases;"
            f" only {', '.join(PARAPHRASED)} have"
        )
    geometry = parse_size(options.size, num_frames)
    check_installed(options.scene)
    from .build.scene_build import BuildPlan

    return BuildPlan(
        scene=options.scene,
        num_clips=options.num_clips,
        clips_per_shard=options.clips_per_shard,
        geometry=geometry,
        seed=options.seed,
        paraphrases=options.paraphrases,
    )


def check_total(num_clips: int) -> None:
    """Raise UserError for more clips than a manifest may list."""
    from t2vgan.data.manifest import MAX_SAMPLES

    if num_clips > MAX_SAMPLES:
        raise UserError(
            f"--num-clips {num_clips}: must be at most {MAX_SAMPLES:,}; for more clips, mix several"
            " data sets in training with --data.mix"
        )


def check_installed(scene: str) -> None:
    """Raise UserError if the library that a scene needs is missing."""
    module, extra = EXTRAS.get(scene, (None, None))
    if module is not None and importlib.util.find_spec(module) is None:
        raise UserError(f"scene {scene} needs {module}: pip install 't2vgan[{extra}]'")


def build(plan: "Build", location: Path | str, *, num_workers: int) -> None:
    """Build the missing shards of a data set, then its manifest."""
    from t2vgan.data.shards import load_manifest

    from .build.destination import open_destination
    from .build.runner import complete, format_rejected, format_summary, is_complete

    with open_destination(location) as out:
        if is_complete(plan, out):
            print_stdout(f"{out} is already complete: {format_summary(load_manifest(out.folder))}")
            return
        complete(plan, out, num_workers=num_workers)
        manifest = load_manifest(out.folder)
        print_stdout(f"{out}: {format_summary(manifest)}")
        if manifest.rejected is not None:
            print_stdout(format_rejected(manifest))


if __name__ == "__main__":
    cli.run(main)
