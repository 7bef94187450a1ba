"""Render scenes into webdataset shards: `python -m data_tools.build_shards circles --out DIR`.

The same arguments give the same bytes, whatever the number of workers. Interrupted and run again,
the build continues; other arguments into the same folder are refused.
"""

import difflib
import os
import re
import signal
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from t2vgan import cli
from t2vgan.errors import UserError

if TYPE_CHECKING:
    from tqdm import tqdm

    from data_tools.build_plan import BuildPlan
    from t2vgan.shards import Manifest

SCENES = ("circles", "notebook")


@dataclass(frozen=True)
class BuildOptions:
    """Render scenes into webdataset shards with a manifest.

    The same arguments give the same bytes, whatever the number of workers. Run the same command
    again to continue an interrupted build.
    """

    scene: Positional[str]
    """What to render: circles (the default scene) or notebook (the published positions)."""
    out: Path
    """Folder for the shards and manifest.json."""
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
    """Build what the command line asks for."""
    options = cli.parse(BuildOptions, prog="python -m data_tools.build_shards")
    plan = make_plan(options)
    signal.signal(signal.SIGTERM, _exit_on_signal)
    build(plan, options.out, num_workers=options.workers)


def make_plan(options: BuildOptions) -> "BuildPlan":
    """Check the options and return the build they describe; raise UserError."""
    if options.scene not in SCENES:
        near = difflib.get_close_matches(options.scene, SCENES, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UserError(f"unknown scene {options.scene!r}, known: {', '.join(SCENES)}{hint}")
    for name in ("num_clips", "clips_per_shard", "num_frames", "workers"):
        if (value := getattr(options, name)) < 1:
            raise UserError(f"--{name.replace('_', '-')} {value}: must be at least 1")
    match = re.fullmatch(r"([1-9]\d{0,4})[xX]([1-9]\d{0,4})", options.size)
    if not match:
        raise UserError(f"--size {options.size}: must be HEIGHTxWIDTH in pixels, such as 64x64")
    from data_tools.build_plan import BuildPlan
    from t2vgan.shards import Geometry
    from t2vgan.strips import MAX_WEBP_SIDE

    height, width = map(int, match.groups())
    if max(options.num_frames * height, width) > MAX_WEBP_SIDE:
        raise UserError(
            f"--num-frames {options.num_frames} --size {options.size}: a film strip of "
            f"{options.num_frames} * {height} = {options.num_frames * height} rows and {width} "
            f"columns; WebP holds at most {MAX_WEBP_SIDE} of each"
        )
    return BuildPlan(
        scene=options.scene,
        num_clips=options.num_clips,
        clips_per_shard=options.clips_per_shard,
        geometry=Geometry(num_frames=options.num_frames, height=height, width=width),
        seed=options.seed,
    )


def build(plan: "BuildPlan", folder: Path, *, num_workers: int) -> None:
    """Build what is missing of a data set, the manifest last.

    Raises UserError when the folder holds another build, or shards that no build here made.
    """
    from data_tools.build_plan import build_shard, make_manifest
    from data_tools.build_state import Journal, find_build, intact
    from data_tools.pool import run_jobs
    from t2vgan.shards import write_manifest

    folder.mkdir(parents=True, exist_ok=True)
    manifest = find_build(plan, folder)
    if manifest and all(intact(folder, entry) for entry in manifest.shards):
        print(f"{folder} is already complete: {_summary(manifest)}")
        return
    with Journal(folder, plan.identity) as journal:
        candidates = [*journal.entries, *(manifest.shards if manifest else ())]
        entries = {entry.name: entry for entry in candidates if intact(folder, entry)}
        missing = [i for i in range(plan.num_shards) if plan.shard_name(i) not in entries]
        with _progress_bar(plan, missing) as progress:
            job = partial(build_shard, plan, folder)
            for entry in run_jobs(job, missing, num_workers=num_workers):
                journal.record(entry)
                entries[entry.name] = entry
                progress.update(entry.num_samples)
        manifest = make_manifest(plan, entries)
        write_manifest(folder, manifest)
        journal.finish()
    print(f"{folder}: {_summary(manifest)}")


def _progress_bar(plan: "BuildPlan", missing: list[int]) -> "tqdm":
    from tqdm import tqdm

    num_missing = sum(len(plan.clip_indexes(index)) for index in missing)
    done = plan.num_clips - num_missing
    label = f"building {plan.scene}"
    return tqdm(total=plan.num_clips, initial=done, desc=label, unit=" clips", delay=0.5)


def _summary(manifest: "Manifest") -> str:
    num_bytes = sum(entry.num_bytes for entry in manifest.shards)
    return (
        f"{manifest.num_samples} clips, {len(manifest.prompts)} prompts, "
        f"{len(manifest.shards)} shards, {num_bytes / 1e6:.1f} MB"
    )


def _exit_on_signal(number: int, frame: object) -> None:
    sys.exit(128 + number)


if __name__ == "__main__":
    cli.run(main)
