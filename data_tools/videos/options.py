"""Define the options of `t2vgan pack` and check their ranges."""

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

    Every input row yields clips or a line in failures.jsonl. To continue an interrupted run, run
    the same command again.
    """

    source: Positional[str]
    """Path or URL of the videos: a folder of pairs such as a.mp4 + a.txt; a metadata.csv, .tsv,
    .jsonl or .parquet, or its folder; a folder with videos.txt + prompts.txt; or webdataset tars
    (mp4 + txt or json)."""
    out: str
    """Output folder, or its URL (s3://bucket/folder), for shards, failures.jsonl, manifest.json."""
    video_column: str | None = None
    """Column with the paths or URLs of the videos; by default a common name (video, path, url)."""
    prompt_column: str | None = None
    """Column with the captions; by default a common name (prompt, caption, text), or `captions`,
    which holds a list or one caption per line."""
    label_column: str | None = None
    """Column with the class of each video, a name or a number; by default `label` or `cls`, if
    present. The class is the prompt of a video without a caption."""
    classes: str | None = None
    """File with the names of classes 0, 1, ..., one per line; by default the source's
    classes.txt."""
    class_folders: bool = False
    """The class of each video of a folder is the name of the folder that it is in, as in UCF101
    and Kinetics: class/a.mp4 or train/class/a.mp4."""
    captions: Literal["required", "optional", "none"] = "required"
    """required: a video without a caption or class fails; optional: it is packed without a prompt;
    none: captions and classes are ignored, for training without prompts."""
    split: Literal["train", "validation", "test"] | None = None
    """Rows to pack if the list has a `split` column; by default train. Captions of the validation
    and test rows are then held-out prompts."""
    hold_out: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Caption to hold out: its videos are left out. Repeat the option for several captions."""
    hold_out_file: str | None = None
    """UTF-8 text file of captions to hold out, one per line."""
    fps: float = 8.0
    """Frames per second of a clip; videos of any frame rate are resampled to it."""
    num_frames: int = 16
    """Frames per clip."""
    size: str = "64x64"
    """Height and width of a frame in pixels, as HxW."""
    clips_per_video: int = 1
    """Maximum number of clips cut from each video, counted from its start; 0 cuts all that fit."""
    stride: float = 0.0
    """Seconds between the starts of consecutive clips of a video; 0 places them end to end."""
    fit: Literal["crop", "random-crop", "pad"] = "crop"
    """How to fit other aspect ratios: crop the centre, crop at a random place, or pad with
    black."""
    storage: Literal["strip-jpg", "strip-webp", "mp4"] | None = None
    """How a clip is stored: a film strip of all frames as one JPEG or lossless WebP picture, or
    H.264 video (smallest, slowest to read). By default WebP for frames of up to 64x64 pixels,
    because models learn JPEG artefacts at that size, else JPEG."""
    quality: int = 90
    """Quality of JPEG and H.264 encoding, 1 to 100."""
    min_motion: float = 0.0
    """Leave out clips whose mean change in colour value from frame to frame is below this
    (0 to 255)."""
    drop_duplicates: bool = False
    """Leave out near duplicates of an earlier clip in the same shard (`t2vgan reshard` compares
    all shards)."""
    max_prompt_words: int = 64
    """Maximum words of a caption; longer ones are cut, as the text encoder reads no more."""
    rows_per_shard: int = 0
    """Videos per shard; 0 means 100, or fewer for a small input, so that it still fills the 8
    shards that training reads in parallel."""
    seed: int = 0
    """Seed of the random crops."""
    workers: int = os.cpu_count() or 1
    """Number of decoding processes on this machine."""
    engine: Literal["local", "ray"] = "local"
    """local: run on this machine; ray: run on every CPU of a Ray cluster."""
    ray_address: str = "auto"
    """Address of the Ray cluster; auto: the cluster that this machine belongs to."""
    plan_only: bool = False
    """Print what would be done, then exit."""
    task_index: int | None = None
    """Index of this task in a cluster's job array, from 0; by default from SLURM_ARRAY_TASK_ID or
    JOB_COMPLETION_INDEX."""
    task_count: int | None = None
    """Number of tasks that divide the shards among them; by default from SLURM_ARRAY_TASK_COUNT or
    JOB_COMPLETION_COUNT. After the last task, run `t2vgan merge`."""
    retry_failed: bool = False
    """Rebuild the shards in which rows failed."""
    max_bad_fraction: float = 0.1
    """Stop with exit code 1 if more than this fraction of the rows fails."""
    allow_local: bool = False
    """Allow lists and symbolic links to refer to files outside the source folder."""
    allow_private_hosts: bool = False
    """Allow lists to name web addresses of this machine and of private networks."""
    timeout_seconds: float = 120.0
    """Time limit in seconds from one clip of a video to the next."""
    memory_mb: int = 2048
    """Memory limit in MiB of the decoding process, beyond what its libraries use."""
    max_pixels: int = 8192 * 4320
    """Limit of a video's frame size, height times width in pixels."""
    max_seconds: float = 14_400.0
    """Limit of a video's length in seconds."""
    max_file_mb: int = 1024
    """Limit of a video file's size in MiB."""


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
        raise UserError(f"--quality {options.quality}: must be between 1 and 100")
    if not 0 <= options.max_bad_fraction <= 1:
        raise UserError(f"--max-bad-fraction {options.max_bad_fraction}: must be between 0 and 1")
