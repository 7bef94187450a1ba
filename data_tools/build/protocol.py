"""Define the interface of builds, which one runner serves."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, JsonValue

from t2vgan.data.shards import (
    EncodedSample,
    Geometry,
    InputCounts,
    Manifest,
    ShardEntry,
    fingerprint,
    library_versions,
    parse_captions,
    parse_metadata,
    write_shard,
)

ShouldStop = Callable[[], bool]


class BuildStopped(Exception):  # noqa: N818 (a request, not an error)
    """The build was interrupted inside a shard."""


class Failure(BaseModel):
    """An input row, or one of its clips, that was left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: int
    clip: int | None = None
    source: str
    reason: str
    message: str


class BuiltShard(BaseModel):
    """The result of one shard's part of the input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int
    entry: ShardEntry | None
    """None if no clip is left."""
    prompts: dict[str, int]
    failures: tuple[Failure, ...] = ()
    rejected: dict[str, int] | None = None
    """Reason -> number of rejected tries; None for builds that never retry a clip."""


class BuildHeader(BaseModel):
    """Everything in a manifest except its shards; identifies a build."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    builder: str
    builder_version: str
    builder_config: dict[str, JsonValue]
    geometry: Geometry
    fps: float
    num_shards: int
    num_rows: int | None = None
    """Rows of the input list; None for builds without one."""
    held_out_prompts: tuple[str, ...] = ()
    prompt_order: tuple[str, ...] = ()
    """Prompts to list first in the manifest, in this order."""

    def make_manifest(self, built: Collection[BuiltShard]) -> Manifest:
        """Return the manifest of a finished build."""
        in_order = sorted(built, key=lambda shard: shard.index)
        counts: Counter[str] = Counter()
        for shard in in_order:
            counts.update(shard.prompts)
        known = [prompt for prompt in self.prompt_order if counts[prompt]]
        others = sorted(counts.keys() - set(known))
        return Manifest(
            builder=self.builder,
            builder_version=self.builder_version,
            builder_config=self.builder_config,
            builder_fingerprint=fingerprint(identity_of(self)),
            geometry=self.geometry,
            fps=self.fps,
            shards=tuple(shard.entry for shard in in_order if shard.entry is not None),
            prompts={prompt: counts[prompt] for prompt in (*known, *others)},
            held_out_prompts=self.held_out_prompts,
            input=self._input_counts(in_order),
            rejected=add_rejected(shard.rejected for shard in in_order),
            libraries=library_versions(),
        )

    def _input_counts(self, built: Iterable[BuiltShard]) -> InputCounts | None:
        if self.num_rows is None:
            return None
        reasons = Counter(failure.reason for shard in built for failure in shard.failures)
        return InputCounts(num_rows=self.num_rows, failures=dict(sorted(reasons.items())))


def identity_of(build: BuildHeader | Manifest) -> dict[str, JsonValue]:
    """Return what two builds into one folder must have in common."""
    versions = {"builder": build.builder, "builder_version": build.builder_version}
    return {**versions, **build.builder_config}


class ShardJob(Protocol):
    """One shard to make, picklable for a worker process."""

    @property
    def name(self) -> str:
        """The shard's file name."""

    def run(self, folder: Path, should_stop: ShouldStop) -> BuiltShard:
        """Make the shard; on request, clean up and raise BuildStopped."""


class Build(Protocol):
    """A whole build."""

    unit: str
    """The unit of `size_of`, for the progress bar."""

    @property
    def header(self) -> BuildHeader:
        """The header of the build."""

    def shard_name(self, index: int) -> str:
        """Return the file name of a shard."""

    def size_of(self, index: int) -> int:
        """Return the number of units that a shard is made from."""

    def job(self, index: int) -> ShardJob:
        """Return the job that makes one shard."""


@dataclass(frozen=True)
class Task:
    """The shards that this process makes: every `count`-th, from `index` on."""

    index: int = 0
    count: int = 1

    def indexes(self, num_shards: int) -> range:
        """Return this task's shards."""
        return range(self.index, num_shards, self.count)


WHOLE = Task()


def build_shard(
    path: Path, index: int, samples: Iterable[EncodedSample], failures: Sequence[Failure] = ()
) -> BuiltShard:
    """Write a shard and count its prompts and rejected tries.

    `failures` may grow while the samples are made.
    """
    counts = SampleCounts()
    entry = write_shard(path, counts.count(samples))
    return BuiltShard(index=index, entry=entry, failures=tuple(failures), **counts.result())


class SampleCounts:
    """Count the prompts and rejected tries of a stream of samples."""

    def __init__(self) -> None:
        self._prompts: Counter[str] = Counter()
        self._rejected: list[dict[str, int] | None] = []

    def count(self, samples: Iterable[EncodedSample]) -> Iterator[EncodedSample]:
        """Yield the samples unchanged while counting them."""
        for sample in samples:
            self._prompts.update(parse_captions(sample.members))
            self._rejected.append(parse_rejected(sample))
            yield sample

    def result(self) -> dict[str, Any]:
        """Return the fields `prompts` and `rejected` of BuiltShard."""
        prompts = dict(sorted(self._prompts.items()))
        return {"prompts": prompts, "rejected": add_rejected(self._rejected)}


def parse_rejected(sample: EncodedSample) -> dict[str, int] | None:
    """Return the rejected tries that a sample's metadata lists, if any."""
    try:
        counts = parse_metadata(sample).get("rejected")
    except ValueError:  # tars from other programs may hold any metadata
        return None
    known = isinstance(counts, dict) and all(type(n) is int and n > 0 for n in counts.values())
    return counts if known else None


def add_rejected(counts: Iterable[dict[str, int] | None]) -> dict[str, int] | None:
    """Add up rejected tries by reason; None if every item is None."""
    known = [count for count in counts if count is not None]
    return dict(sorted(sum(map(Counter, known), Counter()).items())) if known else None
