"""A build of packed videos: which rows go into which shard, and all that its bytes depend on."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from t2vgan.data.shards import EncodedSample, metadata_of, write_shard

from ..build.journal import INPUT_LIST
from ..build.protocol import (
    BuildHeader,
    BuildStopped,
    BuiltShard,
    Failure,
    PromptCounter,
    ShouldStop,
)
from .clips import RowTask
from .judging import SeenClips
from .keys import place_of_key
from .rows import Source
from .sandbox import Sandbox
from .settings import PackSettings, VideoError

BUILDER = "videos"
VERSION = "2"  # raised whenever the same rows give other bytes
FILTERS = ("static", "duplicate")  # reasons that are a wish, not an accident


@dataclass(frozen=True)
class PackPlan:
    """The input list and the settings. Workers, limits and where the source lies are no part."""

    source: Source
    settings: PackSettings
    rows_per_shard: int
    unit = "videos"

    @property
    def header(self) -> BuildHeader:
        """What is built; the settings have the names that they have on the command line."""
        return BuildHeader(
            builder=BUILDER,
            builder_version=VERSION,
            builder_config={
                **self.settings.clips.as_config(),
                "rows_per_shard": self.rows_per_shard,
                INPUT_LIST: self.source.sha256,
                "decoder": decoder_version(),
            },
            geometry=self.settings.clips.geometry,
            fps=self.settings.clips.fps,
            num_shards=-(-len(self.source.rows) // self.rows_per_shard),
            num_rows=len(self.source.rows),
        )

    def shard_name(self, index: int) -> str:
        """Return the file name of a shard."""
        return f"{BUILDER}-{index:06d}.tar"

    def row_numbers(self, index: int) -> range:
        """Return the rows of a shard; the last may have fewer."""
        first = index * self.rows_per_shard
        return range(first, min(first + self.rows_per_shard, len(self.source.rows)))

    def size_of(self, index: int) -> int:
        """Return the number of rows of a shard."""
        return len(self.row_numbers(index))

    def job(self, index: int) -> "PackedShard":
        """Return the work of one shard."""
        numbers = self.row_numbers(index)
        tasks = tuple(RowTask(number, self.source.rows[number]) for number in numbers)
        return PackedShard(index, self.shard_name(index), tasks, self.settings)


def decoder_version() -> str:
    """Return the version of the decoders: another one may give other pixels."""
    import av

    return "libavcodec " + ".".join(map(str, av.library_versions["libavcodec"]))


@dataclass(frozen=True)
class PackedShard:
    """One shard: a pure function of its rows and the settings."""

    index: int
    name: str
    tasks: tuple[RowTask, ...]
    settings: PackSettings

    def run(self, folder: Path, should_stop: ShouldStop) -> BuiltShard:
        """Make the shard from its rows; every row gives clips or a failure."""
        failures: list[Failure] = []
        samples = list(self._samples(failures, should_stop))
        counter = PromptCounter(samples)
        path = folder / self.name
        if samples:
            entry = write_shard(path, counter)
        else:
            entry = None
            path.unlink(missing_ok=True)  # of a run that had less trouble with these rows
        return BuiltShard(
            index=self.index,
            entry=entry,
            prompts=dict(sorted(counter.counts.items())),
            failures=tuple(failures),
        )

    def _samples(self, failures: list[Failure], should_stop: ShouldStop) -> Iterator[EncodedSample]:
        sandbox, seen = sandbox_for(self.settings), SeenClips()
        for task in self.tasks:
            if should_stop():
                raise BuildStopped
            source = task.row.source
            try:
                clips = sandbox.make_clips(task, should_stop)
            except VideoError as error:
                failures.append(
                    Failure(row=task.number, source=source, reason=error.reason, message=str(error))
                )
                continue
            for clip in clips:
                if unwanted := self._filter(clip, seen):
                    number = place_of_key(clip.key)[1]
                    reason, message = unwanted
                    failures.append(
                        Failure(
                            row=task.number,
                            clip=number,
                            source=source,
                            reason=reason,
                            message=message,
                        )
                    )
                else:
                    yield clip

    def _filter(self, clip: EncodedSample, seen: SeenClips) -> tuple[str, str] | None:
        settings, metadata = self.settings.clips, metadata_of(clip)
        if (motion := metadata["motion"]) < settings.min_motion:
            return "static", f"motion {motion:g} is below {settings.min_motion:g}"
        if settings.drop_duplicates and not seen.is_new(metadata["perceptual_hash"]):
            return "duplicate", "nearly the same as an earlier clip of its shard"
        return None


@lru_cache(maxsize=1)
def sandbox_for(settings: PackSettings) -> Sandbox:
    """Return this process's sandbox: starting one costs more than many a video."""
    return Sandbox(settings)
