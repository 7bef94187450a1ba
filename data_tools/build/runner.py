"""Make the missing shards of a build, then publish its manifest."""

from collections.abc import Callable, Collection, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from t2vgan.data.shards import MANIFEST_NAME, Manifest, load_manifest, write_manifest
from t2vgan.errors import UserError
from t2vgan.utils.console import print_stderr
from t2vgan.utils.files import remove_temporary_files

from .destination import Destination
from .journal import JOURNAL_PATTERN, Journal, read_journals, write_failures
from .protocol import (
    WHOLE,
    Build,
    BuildHeader,
    BuiltShard,
    ShardJob,
    ShouldStop,
    Task,
)
from .resume import find_build, is_intact, recover
from .worker_pool import run_jobs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tqdm import tqdm

RunJobs = Callable[..., "Iterator[BuiltShard]"]


def complete(
    build: Build,
    out: Destination,
    *,
    num_workers: int,
    task: Task = WHOLE,
    remake: Collection[int] = (),
    watch: Callable[[BuiltShard], None] = lambda built: None,
    engine: RunJobs = run_jobs,
) -> dict[int, BuiltShard]:
    """Make a task's missing shards; return the results of all its shards.

    An undivided build also publishes its manifest; divided ones leave that to `merge_journals`.
    Shards in `remake` are made again even if they are intact. `watch` is called with the result of
    every shard of the task, existing ones first, and may raise. Raises UserError as `find_build`
    does.
    """
    out.folder.mkdir(parents=True, exist_ok=True)
    manifest = find_build(build, out)
    header = build.header
    with Journal(out.folder, header, task, where=out) as journal:
        out.claim(header)
        built = recover(build, out, manifest) if manifest else {}
        built = {index: shard for index, shard in built.items() if index not in remake}
        built |= {i: s for i, s in journal.built.items() if is_intact(out, s.entry)}
        mine = task.indexes(header.num_shards)
        missing = [index for index in mine if index not in built]
        for index in mine:
            if index in built:
                if task.count > 1 and index not in journal.built:  # the merge reads the journals
                    journal.record(built[index])
                    out.record(header, built[index])
                watch(built[index])
        try:
            with _progress(build, mine, missing) as progress:
                jobs = [build.job(index) for index in missing]
                for shard in engine(partial(run_job, out), jobs, num_workers=num_workers):
                    journal.record(shard)
                    out.record(header, shard)
                    built[shard.index] = shard
                    progress.update(build.size_of(shard.index))
                    watch(shard)
        except KeyboardInterrupt:
            print_stderr("finished shards are kept; run the same command again to continue")
            raise
        if task.count == 1:
            publish(out, header, built)
    return built


def run_job(out: Destination, job: ShardJob, should_stop: ShouldStop) -> BuiltShard:
    """Run a job and deliver its shard."""
    built = job.run(out.folder, should_stop)
    out.deliver(job.name, built)
    return built


def is_complete(build: Build, out: Destination) -> bool:
    """Return whether a destination holds this build with all shards intact."""
    if not out.folder.is_dir():
        return False
    manifest = find_build(build, out)
    return manifest is not None and all(is_intact(out, entry) for entry in manifest.shards)


def merge_journals(out: Destination) -> Manifest:
    """Publish a divided build; raise UserError if shards are missing."""
    folder = out.folder
    if (folder / MANIFEST_NAME).exists() and not any(folder.glob(JOURNAL_PATTERN)):
        return load_manifest(folder)
    header, built = read_journals(folder)
    sound = {index for index, shard in built.items() if is_intact(out, shard.entry)}
    if missing := [index for index in range(header.num_shards) if index not in sound]:
        numbers = ", ".join(map(str, missing[:10])) + (", ..." if len(missing) > 10 else "")
        raise UserError(
            f"{out}: {len(missing)} of {header.num_shards} shards are missing or damaged "
            f"(numbers {numbers}); run their tasks again, then merge"
        )
    remove_temporary_files(folder)
    return publish(out, header, built)


def publish(out: Destination, header: BuildHeader, built: dict[int, BuiltShard]) -> Manifest:
    """Write failures.jsonl and the manifest, then remove the journals.

    Builds without an input list have no failures.jsonl.
    """
    folder = out.folder
    if header.num_rows is not None:
        write_failures(folder, built.values())
    if not any(shard.entry for shard in built.values()):
        raise UserError(f"{out}: no clip could be made, so there is no data set")
    manifest = header.make_manifest(built.values())
    write_manifest(folder, manifest)
    out.publish()
    for journal in folder.glob(JOURNAL_PATTERN):
        journal.unlink()
    return manifest


def format_summary(manifest: Manifest) -> str:
    """Format the counts of a data set as one line."""
    num_bytes = sum(entry.num_bytes for entry in manifest.shards)
    return (
        f"{manifest.num_samples} clips, {len(manifest.prompts)} prompts, "
        f"{len(manifest.shards)} shards, {num_bytes / 1e6:.1f} MB"
    )


def format_rejected(manifest: Manifest) -> str:
    """Format the number of rejected tries and their reasons as one line."""
    rejected = manifest.rejected or {}
    count = sum(rejected.values())
    reasons = ", ".join(f"{n} {reason}" for reason, n in rejected.items()) or "none"
    return f"{manifest.num_samples + count} tries, {count} rejected: {reasons}"


@contextmanager
def _progress(build: Build, mine: Sequence[int], missing: Sequence[int]) -> "Iterator[tqdm]":
    from tqdm import tqdm

    total = sum(map(build.size_of, mine))
    label = f"building {build.header.builder}"
    done = total - sum(map(build.size_of, missing))
    with tqdm(total=total, initial=done, desc=label, unit=f" {build.unit}", delay=0.5) as bar:
        yield bar
