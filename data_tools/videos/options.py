"""Options of packing, and their ranges."""

import os
from dataclasses import dataclass
from typing import Literal

import tyro
from tyro.conf import Positional

from t2vgan.errors import UserError

from ..build.options import check_at_least


@dataclass(frozen=True)
class PackOptions:
    """Pack captioned videos into webdataset shards with a manifest.

    Every row of the input gives clips or a line in failures.jsonl. Run the same command again to
    continue an interrupted one.
    """

    source: Positional[str]
    """Folder of a.mp4 + a.txt; folder with metadata.csv, .tsv, .jsonl or .parquet, or that file
    itself; folder with videos.txt + prompts.txt; webdataset tars (mp4 + txt or json). A path or a
    URL."""
    out: str
    """Folder for the shards, failures.jsonl and manifest.json, or its URL (s3://bucket/folder)."""
    video_column: str | None = None
    """Column of the videos' paths or URLs; by default a usual name (video, path, url)."""
    prompt_column: str | None = None
    """Column of the captions; by default a usual name (prompt, caption, text), or `captions`: a
    list, or one a line."""
    label_column: str | None = None
    """Column of the classes, texts or numbers; by default `label` or `cls`, if there is one. Where
    a video has no caption, its class is the prompt."""
    classes: str | None = None
    """File with the name of class 0, 1, ... in each line; by default classes.txt of the source."""
    captions: Literal["required", "optional", "none"] = "required"
    """required: a video without a caption is a failure; optional: it is packed without one; none:
    captions are not read, and training needs no prompts."""
    split: Literal["train", "validation", "test"] | None = None
    """Part of a list with a column `split` to pack; by default train. Captions of the other parts
    are held-out prompts."""
    hold_out: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A caption whose videos are left out, to be a held-out prompt; repeat the option for more."""
    hold_out_file: str | None = None
    """Text file (UTF-8) with such a caption in each line."""
    fps: float = 8.0
    """Frames per second of a clip, whatever the video's own rate."""
    num_frames: int = 16
    """Frames of a clip."""
    size: str = "64x64"
    """Height and width of a frame in pixels, as HxW."""
    clips_per_video: int = 1
    """Clips cut from each video, from its start on; 0 cuts as many as it holds."""
    stride: float = 0.0
    """Seconds between the starts of two clips of a video; 0 places them end to end."""
    fit: Literal["crop", "random-crop", "pad"] = "crop"
    """Other aspect ratios: cut from the centre, at a random place, or pad with black."""
    storage: Literal["strip-jpg", "strip-webp", "mp4"] | None = None
    """One JPEG or lossless WebP picture of all frames, or H.264 (smallest, slowest to read). By
    default WebP for frames of up to 64x64 pixels, whose JPEG noise would be learned, else JPEG."""
    quality: int = 90
    """Quality of JPEG and H.264, 1 to 100."""
    min_motion: float = 0.0
    """Leave out clips whose colour values change less than this from frame to frame (0 to 255)."""
    drop_duplicates: bool = False
    """Leave out clips nearly equal to an earlier one of their shard (reshard does it over all)."""
    max_prompt_words: int = 64
    """Cut longer captions; the text encoder reads no more."""
    rows_per_shard: int = 0
    """Videos in one shard; 0 takes 100, or fewer so that a small input makes 8 shards too, which is
    what training reads side by side."""
    seed: int = 0
    """Seed of the random crops."""
    workers: int = os.cpu_count() or 1
    """Processes that decode."""
    engine: Literal["local", "ray"] = "local"
    """local: processes of this machine; ray: every CPU of a Ray cluster."""
    ray_address: str = "auto"
    """Address of the Ray cluster; auto: the one that this machine belongs to."""
    plan_only: bool = False
    """Print what would be done, and stop."""
    task_index: int | None = None
    """Which task of a cluster's array this is; by default SLURM_ARRAY_TASK_ID or
    JOB_COMPLETION_INDEX."""
    task_count: int | None = None
    """Number of tasks that share the shards; by default SLURM_ARRAY_TASK_COUNT or
    JOB_COMPLETION_COUNT. Then join them with `t2vgan merge`."""
    retry_failed: bool = False
    """Make the shards in which rows failed again."""
    max_bad_fraction: float = 0.1
    """Stop with exit code 1 when more than this share of the rows has failed."""
    allow_local: bool = False
    """Let lists and links lead to files outside the source's folder."""
    allow_private_hosts: bool = False
    """Let a list name web addresses of this machine and of private networks."""
    timeout_seconds: float = 120.0
    """Longest time from one clip of a video to its next."""
    memory_mb: int = 2048
    """Most memory for decoding one video, beyond what the libraries take."""
    max_pixels: int = 8192 * 4320
    """Largest picture, height times width."""
    max_seconds: float = 14_400.0
    """Longest video."""
    max_file_mb: int = 1024
    """Largest file."""


def check_options(options: PackOptions) -> None:
    """Raise UserError for an option outside its range."""
    check_at_least(1, options, "num_frames", "workers", "max_prompt_words")
    check_at_least(1, options, "memory_mb", "max_pixels", "max_file_mb")
    check_at_least(0, options, "rows_per_shard", "clips_per_video", "stride", "min_motion", "seed")
    for name in ("fps", "timeout_seconds", "max_seconds"):
        if not 0 < (value := getattr(options, name)) < float("inf"):
            raise UserError(f"--{name.replace('_', '-')} {value}: must be above 0")
    if options.fps > 1000:
        raise UserError(f"--fps {options.fps:g}: must be at most 1000")
    if not 1 <= options.quality <= 100:
        raise UserError(f"--quality {options.quality}: must be 1 to 100")
    if not 0 <= options.max_bad_fraction <= 1:
        raise UserError(f"--max-bad-fraction {options.max_bad_fraction}: must be 0 to 1")
