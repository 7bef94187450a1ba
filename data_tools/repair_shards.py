"""Rebuild damaged shards: `python -m data_tools.repair_shards DIR`."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import Positional

from t2vgan.errors import UserError
from t2vgan.utils import cli
from t2vgan.utils.console import print_stdout
from t2vgan.utils.urls import as_location, is_url

if TYPE_CHECKING:
    from collections.abc import Sequence

    from t2vgan.data.shards import Manifest, ShardEntry

    from .build.protocol import Build
    from .videos.input_list.tables import Columns


def main() -> int:
    """Run the command."""
    return cli.call(repair_shards)


def repair_shards(
    folder: Positional[Path],
    source: str = "",
    video_column: str | None = None,
    prompt_column: str | None = None,
    label_column: str | None = None,
    classes: str | None = None,
    class_folders: bool = False,
    allow_local: bool = False,
    allow_private_hosts: bool = False,
    workers: int = os.cpu_count() or 1,
) -> int:
    """Rebuild missing and damaged shards from their source, and no others.

    The exit code is 1 if a rebuilt shard has other bytes than before, because the source or the
    version of a library has changed.

    Args:
        folder: The folder with manifest.json and its shards.
        source: The source that t2vgan pack read; not needed for rendered scenes.
        video_column: The --video-column of t2vgan pack, if one was given.
        prompt_column: The --prompt-column of t2vgan pack, if one was given.
        label_column: The --label-column of t2vgan pack, if one was given.
        classes: The --classes of t2vgan pack, if given.
        class_folders: Whether t2vgan pack was run with --class-folders.
        allow_local: Allow lists and symbolic links to refer to files outside the source folder.
        allow_private_hosts: Allow lists to name web addresses of this machine and of private
            networks.
        workers: Number of processes that decode or render.
    """
    from t2vgan.data.shards import load_manifest

    from .build.destination import Destination
    from .build.resume import is_intact
    from .build.runner import complete
    from .videos.input_list.tables import Columns

    if is_url(location := as_location(folder)):
        raise UserError(
            f"{location}: repair needs a local folder; to rebuild exactly the damaged shards, run "
            f"the command that built the data set again with --out {location}"
        )
    manifest = load_manifest(folder)
    out = Destination(folder)
    damaged = [entry for entry in manifest.shards if not is_intact(out, entry)]
    if not damaged:
        print_stdout(f"{folder}: {len(manifest.shards)} shards, all intact")
        return 0
    if manifest.builder == "videos":
        allowed = {"allow_local": allow_local, "allow_private_hosts": allow_private_hosts}
        columns = Columns(
            video_column, prompt_column, label_column, classes, class_folders=class_folders
        )
        build = _plan_packing(manifest, source, columns, **allowed)
    else:
        build = _plan_rendering(manifest)
    complete(build, out, num_workers=workers)
    return report_repairs(damaged, load_manifest(folder))


def report_repairs(damaged: "Sequence[ShardEntry]", manifest: "Manifest") -> int:
    """Print the result for each damaged shard; return 1 if bytes changed."""
    made = {entry.name: entry.sha256 for entry in manifest.shards}
    changed = [entry.name for entry in damaged if made.get(entry.name) != entry.sha256]
    for entry in damaged:
        print_stdout(
            f"{entry.name}: {'rebuilt, with OTHER bytes' if entry.name in changed else 'repaired'}"
        )
    if changed:
        print_stdout(
            f"the source of {len(changed)} shards, or a library that encodes them, has changed;"
            " the manifest now lists the new bytes"
        )
    return int(bool(changed))


def _plan_packing(
    manifest: "Manifest", source: str, columns: "Columns", **allowed: bool
) -> "Build":
    from .build.journal import INPUT_LIST
    from .videos.held_out import HoldOut
    from .videos.input_list.sources import read_source
    from .videos.plan import PackPlan
    from .videos.settings import Access, ClipSettings, PackSettings

    if not source:
        raise UserError("--source: give the source that this data set was packed from")
    clips = ClipSettings.from_config(manifest.builder_config, manifest.geometry)
    hold_out = HoldOut.from_config(manifest.builder_config)
    wanted = replace(columns, needs_prompt=clips.captions == "required")
    found = read_source(source, wanted, allow_local=allowed["allow_local"])
    found = hold_out.apply(found, clips)
    if found.sha256 != manifest.builder_config[INPUT_LIST]:
        raise UserError(f"--source {source}: its rows and captions are not those of this data set")
    settings = PackSettings(clips, Access(found.root, **allowed))
    return PackPlan(found, settings, int(str(manifest.builder_config["rows_per_shard"])), hold_out)


def _plan_rendering(manifest: "Manifest") -> "Build":
    from .build.scene_build import BuildPlan
    from .build_shards import SCENES, check_installed

    if manifest.builder not in SCENES:
        raise UserError(
            f"a data set made by {manifest.builder!r} cannot be repaired; "
            f"make it again with the command that made it"
        )
    check_installed(manifest.builder)
    numbers = {
        name: manifest.builder_config[name] for name in ("num_clips", "clips_per_shard", "seed")
    }
    numbers["paraphrases"] = manifest.builder_config.get("paraphrases", 0)
    return BuildPlan(manifest.builder, geometry=manifest.geometry, **numbers)  # type: ignore[arg-type]


if __name__ == "__main__":
    cli.run(main)
