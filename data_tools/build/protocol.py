"""What a builder of shards says about its work, so that one machinery finishes every kind.

`build_plan.py` describes rendered scenes, `videos/plan.py` packed videos; `finishing.py` makes
what is missing of either.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, JsonValue

from t2vgan.data.shards import (
    EncodedSample,
    Geometry,
    InputCounts,
    Manifest,
    ShardEntry,
    fingerprint,
    prompt_of,
)

ShouldStop = Callable[[], bool]


class BuildStopped(Exception):  # noqa: N818 (a request, not an error)
    """The build was interrupted inside a shard."""


class Failure(BaseModel):
    """A row of the input, or one clip of it, that is not in the shards, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: int
    clip: int | None = None
    source: str
    reason: str
    message: str


class BuiltShard(BaseModel):
    """What became of one shard's part of the input; `entry` is None where nothing was left."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    index: int
    entry: ShardEntry | None
    prompts: dict[str, int]
    failures: tuple[Failure, ...] = ()


class BuildHeader(BaseModel):
    """Everything that a manifest says besides its shards; two builds with one header are one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    builder: str
    builder_version: str
    builder_config: dict[str, JsonValue]
    geometry: Geometry
    fps: float
    num_shards: int
    num_rows: int | None = None
    """Rows of the input list; None where clips are drawn, not read."""
    held_out_prompts: tuple[str, ...] = ()
    prompt_order: tuple[str, ...] = ()
    """Prompts that the manifest lists first, in this order."""

    @property
    def identity(self) -> dict[str, JsonValue]:
        """Everything that two builds into one folder must have in common."""
        return {
            "builder": self.builder,
            "builder_version": self.builder_version,
            **self.builder_config,
        }

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
            builder_fingerprint=fingerprint(self.identity),
            geometry=self.geometry,
            fps=self.fps,
            shards=tuple(shard.entry for shard in in_order if shard.entry is not None),
            prompts={prompt: counts[prompt] for prompt in (*known, *others)},
            held_out_prompts=self.held_out_prompts,
            input=self._input_counts(in_order),
        )

    def _input_counts(self, built: Iterable[BuiltShard]) -> InputCounts | None:
        if self.num_rows is None:
            return None
        reasons = Counter(failure.reason for shard in built for failure in shard.failures)
        return InputCounts(num_rows=self.num_rows, failures=dict(sorted(reasons.items())))


class ShardJob(Protocol):
    """One shard to make, with all that this needs: it travels to a worker process."""

    @property
    def name(self) -> str:
        """The shard's file name."""

    def run(self, folder: Path, should_stop: ShouldStop) -> BuiltShard:
        """Make the shard; raise BuildStopped, leaving nothing, when asked to."""


class Build(Protocol):
    """A whole build."""

    unit: str
    """What `size_of` counts, for the progress bar."""

    @property
    def header(self) -> BuildHeader:
        """What is built."""

    def shard_name(self, index: int) -> str:
        """Return the file name of a shard."""

    def size_of(self, index: int) -> int:
        """Return how many units a shard is made from."""

    def job(self, index: int) -> ShardJob:
        """Return the work of one shard."""


@dataclass(frozen=True)
class Task:
    """Which shards this process makes: every `count`-th, from the `index`-th on."""

    index: int = 0
    count: int = 1

    def indexes(self, num_shards: int) -> range:
        """Return this task's shards."""
        return range(self.index, num_shards, self.count)


WHOLE = Task()


class PromptCounter:
    """Passes samples on and counts their prompts."""

    def __init__(self, samples: Iterable[EncodedSample]):
        self._samples = samples
        self.counts: Counter[str] = Counter()

    def __iter__(self) -> Iterator[EncodedSample]:
        for sample in self._samples:
            self.counts[prompt_of(sample)] += 1
            yield sample
