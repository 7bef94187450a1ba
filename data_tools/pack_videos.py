"""Pack captioned videos into shards: `python -m data_tools.pack_videos SOURCE --out DIR`.

The same input list and settings give the same bytes, whatever the number of workers or tasks.
"""

import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from t2vgan.errors import UserError
from t2vgan.utils import cli
from t2vgan.utils.console import escape_control_chars, print_stderr, print_stdout
from t2vgan.utils.urls import as_location, is_url

from .build.options import exit_on_sigterm, parse_size
from .videos.options import PackOptions, check_options

NUM_SHARDS, ROWS_PER_SHARD = 8, 100  # if --rows-per-shard is 0
SIZE_UNIT = 16  # the default networks need multiples of four patches of four pixels

SMALL_FRAME = 64 * 64  # pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from t2vgan.data.shards import Geometry, Storage

    from .build.destination import Destination
    from .build.protocol import BuiltShard, Task
    from .build.runner import RunJobs
    from .videos.plan import PackPlan


def main() -> int:
    """Run the command."""
    options = cli.parse(PackOptions)
    from .build.array_task import read_task

    exit_on_sigterm()
    check_options(options)
    if options.engine == "ray":  # its workers have other working directories
        options = replace(options, source=absolute(options.source), out=absolute(options.out))
    task = read_task(options.task_index, options.task_count)
    plan = make_plan(options)
    if options.plan_only:
        print_stdout("\n".join(format_plan(plan, task)))
        return 0
    return pack(plan, options, task)


def make_plan(options: PackOptions) -> "PackPlan":
    """Read the source and return the build that the options describe."""
    from .videos.held_out import HoldOut
    from .videos.input_list.sources import read_source
    from .videos.input_list.tables import Columns
    from .videos.plan import PackPlan
    from .videos.settings import Access, ClipSettings, Limits, PackSettings

    geometry = parse_size(options.size, options.num_frames, options.storage or "strip-jpg")
    storage = options.storage or usual_storage(geometry)
    if geometry.height % SIZE_UNIT or geometry.width % SIZE_UNIT:
        print_stdout(
            f"note: --size {options.size}: train.py's presets need multiples of {SIZE_UNIT}"
        )
    location = as_location(options.source)
    if absolute(options.out) == absolute(location):
        raise UserError(f"--out {options.out} is the source; choose another folder")
    columns = Columns(
        options.video_column,
        options.prompt_column,
        options.label_column,
        options.classes,
        needs_prompt=options.captions == "required",
        class_folders=options.class_folders,
    )
    source = read_source(location, columns, allow_local=options.allow_local)
    stride = options.stride or options.num_frames / options.fps
    given = {**vars(options), "stride": stride, "storage": storage}
    clips = ClipSettings.from_config(given, geometry)
    limits = Limits(
        timeout_seconds=options.timeout_seconds,
        memory_mb=options.memory_mb,
        max_pixels=options.max_pixels,
        max_seconds=options.max_seconds,
        max_file_mb=options.max_file_mb,
    )
    access = Access(source.root, options.allow_local, options.allow_private_hosts)
    settings = PackSettings(clips, access, limits)
    hold_out = HoldOut(options.split or "", read_held_out(options))
    source = hold_out.apply(source, clips)
    few = max(1, len(source.rows) // NUM_SHARDS)
    rows_per_shard = options.rows_per_shard or min(few, ROWS_PER_SHARD)
    return PackPlan(source, settings, rows_per_shard, hold_out)


def read_held_out(options: PackOptions) -> tuple[str, ...]:
    """Return the prompts to hold out, without repetitions."""
    prompts = list(options.hold_out)
    if options.hold_out_file is not None:
        from t2vgan.utils.tables import read_stripped_lines
        from t2vgan.utils.untrusted import open_file

        with open_file(options.hold_out_file) as file:
            lines = read_stripped_lines(file, f"--hold-out-file {options.hold_out_file}")
        prompts += filter(None, lines)
    return tuple(dict.fromkeys(prompts))


def describe_input(plan: "PackPlan") -> list[str]:
    """Describe cutting, captions, classes and held-out rows, one line each."""
    from .videos.held_out import describe_held_out
    from .videos.prompts import describe_captions

    source, limit = plan.source, plan.settings.clips.clips_per_video
    cut = f"{limit:9d} clip{'s' * (limit > 1)} at most per video, from its start"
    cutting = [f"{cut} (--clips-per-video 0: all that fit)"] if limit else []
    return [
        *cutting,
        *describe_captions(source.rows, plan.settings.clips),
        *describe_held_out(source),
    ]


def usual_storage(geometry: "Geometry") -> "Storage":
    """Return how clips are stored by default."""
    from t2vgan.data.film_strip import MAX_WEBP_SIDE

    is_small = geometry.height * geometry.width <= SMALL_FRAME
    fits = geometry.num_frames * geometry.height <= MAX_WEBP_SIDE
    return "strip-webp" if is_small and fits else "strip-jpg"


def format_plan(plan: "PackPlan", task: "Task") -> list[str]:
    """Format the plan, one item per line."""
    from t2vgan.data.shards import fingerprint

    from .build.protocol import identity_of
    from .videos.accounting import format_passed_over

    header = plan.header
    mine = task.indexes(header.num_shards)
    lines = [
        f"{header.num_rows} videos ({plan.source.kind}) -> {header.num_shards} shards, "
        f"{plan.shard_name(0)} to {plan.shard_name(header.num_shards - 1)}",
        *(f"  {name:18} {value}" for name, value in header.builder_config.items()),
        f"  {'fingerprint':18} {fingerprint(identity_of(header))}",
    ]
    if task.count > 1:
        lines.append(f"task {task.index} of {task.count}: {len(mine)} shards, {list(mine)[:8]} ...")
    return [*lines, *describe_input(plan), *format_passed_over(plan.source.passed_over)]


def pack(plan: "PackPlan", options: PackOptions, task: "Task") -> int:
    """Pack the missing shards, print the counts and return the exit code."""
    from .build.destination import open_destination

    with open_destination(options.out, task) as out:
        return _pack_into(out, plan, options, task)


def _pack_into(out: "Destination", plan: "PackPlan", options: PackOptions, task: "Task") -> int:
    from t2vgan.data.shards import load_manifest

    from .build.runner import complete, format_summary, is_complete
    from .videos import accounting

    passed_over = plan.source.passed_over
    for line in (*accounting.format_passed_over(passed_over), *describe_input(plan)):
        print_stdout(escape_control_chars(line))
    remake = _shards_to_retry(plan, out) if options.retry_failed else set()
    if not remake and is_complete(plan, out):
        manifest = load_manifest(out.folder)
        print_stdout(f"{out} is already complete: {format_summary(manifest)}")
        return accounting.report_failures(manifest, options.max_bad_fraction)
    my_rows = sum(plan.size_of(index) for index in task.indexes(plan.header.num_shards))
    bad_rows = accounting.BadRows(my_rows, options.max_bad_fraction)
    try:
        built = complete(
            plan,
            out,
            num_workers=options.workers,
            task=task,
            remake=remake,
            watch=bad_rows.add,
            engine=select_engine(options),
        )
    except accounting.TooManyBadRows as error:
        accounting.write_passed_over(out, passed_over)
        _print_account(plan, bad_rows.shards)
        print_stderr(
            f"error: {error}; correct the input and pack it into another --out, or raise"
            " --max-bad-fraction and run the command again to continue"
        )
        return 1
    accounting.write_passed_over(out, passed_over)
    mine = [built[index] for index in task.indexes(plan.header.num_shards)]
    print_stdout("\n".join(accounting.format_counts(mine, my_rows)))
    if task.count > 1:
        print_stdout(
            f"task {task.index} of {task.count} is done; when all are done: t2vgan merge {out}"
        )
    else:
        print_stdout(f"{out}: {format_summary(load_manifest(out.folder))}")
    return 0


def _print_account(plan: "PackPlan", shards: "Sequence[BuiltShard]") -> None:
    from .videos.accounting import format_counts, format_failures

    num_rows = sum(plan.size_of(shard.index) for shard in shards)
    print_stdout("\n".join([*format_counts(shards, num_rows), *format_failures(shards)]))


def select_engine(options: PackOptions) -> "RunJobs":
    """Return the function that runs the jobs."""
    from .build.ray_pool import run_jobs_on_ray
    from .build.worker_pool import run_jobs

    if options.engine == "local":
        return run_jobs
    return partial(run_jobs_on_ray, address=options.ray_address)


def absolute(location: str) -> str:
    """Return a path as absolute, and a URL unchanged."""
    location = as_location(location)
    return location if is_url(location) else os.path.abspath(location)


def _shards_to_retry(plan: "PackPlan", out: "Destination") -> set[int]:
    from .build.resume import find_build, recover
    from .videos.accounting import shards_to_retry

    manifest = find_build(plan, out) if out.folder.is_dir() else None
    if manifest is None:
        raise UserError(f"--retry-failed: {out} holds no finished data set whose rows to retry")
    return shards_to_retry(recover(plan, out, manifest).values())


if __name__ == "__main__":
    cli.run(main)
