"""Write the clips with which benchmarks read and train."""

from pathlib import Path

from data_tools.build_shards import BuildOptions, build, make_plan

SCENES = {
    "quickstart": ("circles", "64x64"),
    "shapes-cpu": ("shapes", "32x32"),
    "video-small": ("shapes", "32x32"),
    "shapes": ("shapes", "64x64"),
    "notebook": ("notebook", "64x64"),
}
"""Preset -> scene and size of the clips."""


def write_clips(
    folder: Path, scene: str, size: str, *, num_clips: int = 256, clips_per_shard: int = 32
) -> None:
    """Render a scene into shards with a manifest."""
    options = BuildOptions(
        scene=scene,
        out=str(folder),
        num_clips=num_clips,
        clips_per_shard=clips_per_shard,
        size=size,
    )
    build(make_plan(options), folder, num_workers=1)
