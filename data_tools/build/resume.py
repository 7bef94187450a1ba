"""Find the finished part of a build at its destination."""

from collections import defaultdict

from t2vgan.data.shards import (
    MANIFEST_NAME,
    Manifest,
    ShardEntry,
    load_manifest,
    read_samples,
)
from t2vgan.errors import UserError
from t2vgan.utils.files import sha256_of

from .destination import Destination
from .journal import JOURNAL_PATTERN, check_same_arguments, read_failures
from .protocol import Build, BuiltShard, Failure, SampleCounts


def find_build(build: Build, out: Destination) -> Manifest | None:
    """Return the manifest of this build, if it has been published.

    Raises UserError for the manifest of another build, and for shards with this build's names that
    no manifest or journal records.
    """
    folder = out.folder
    if (folder / MANIFEST_NAME).exists():
        manifest = load_manifest(folder)
        check_same_arguments(out, manifest, build.header)
        return manifest
    if not any(folder.glob(JOURNAL_PATTERN)) and out.has(build.shard_name(0)):
        raise UserError(
            f"{out}/{build.shard_name(0)} exists, but no manifest or journal records "
            f"its build; choose an empty --out, or remove the shards"
        )
    return None


def recover(build: Build, out: Destination, manifest: Manifest) -> dict[int, BuiltShard]:
    """Return the results of the intact shards of a finished build."""
    failures: defaultdict[int, list[Failure]] = defaultdict(list)
    first_row = 0
    rows = iter(read_failures(out.folder, out))
    failure = next(rows, None)
    entries = {entry.name: entry for entry in manifest.shards}
    built = {}
    for index in range(build.header.num_shards):
        first_row += build.size_of(index)
        while failure is not None and failure.row < first_row:
            failures[index].append(failure)
            failure = next(rows, None)
        entry = entries.get(build.shard_name(index))
        if entry is None and not failures[index]:
            continue
        if entry is None or is_intact(out, entry):
            counts = SampleCounts()
            if entry is not None:
                with out.copy_of(entry) as path:
                    for _ in counts.count(read_samples(path)):
                        pass
            built[index] = BuiltShard(
                index=index, entry=entry, failures=tuple(failures[index]), **counts.result()
            )
    return built


def is_intact(out: Destination, entry: ShardEntry | None) -> bool:
    """Return whether a shard has the size and checksum of its entry."""
    if entry is None:
        return True
    try:
        with out.copy_of(entry) as path:
            return (
                path.is_file()
                and path.stat().st_size == entry.num_bytes
                and sha256_of(path) == entry.sha256
            )
    except FileNotFoundError:
        return False
