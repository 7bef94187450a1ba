"""Plan a build of packed videos."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import chain, islice
from pathlib import Path

from t2vgan.data.shards import EncodedSample, parse_metadata

from ..build.journal import INPUT_LIST
from ..build.protocol import (
    BuildHeader,
    BuildStopped,
    BuiltShard,
    Failure,
    ShouldStop,
    build_shard,
)
from .clips import RowTask
from .held_out import ALL_ROWS, HoldOut
from .input_list.rows import Source
from .judging import SeenClips
from .keys import parse_key
from .sandbox import Sandbox
from .settings import PackSettings, VideoError
from .spool import SampleSpool

BUILDER = "videos"
VERSION = "4"  # raised whenever the same rows give other bytes
FILTERS = ("static", "duplicate")  # reasons that options cause; all others are errors


@dataclass(frozen=True)
class PackPlan:
    """The input list and the settings that determine the bytes of shards."""

    source: Source
    settings: PackSettings
    rows_per_shard: int
    hold_out: HoldOut = ALL_ROWS
    """The choice of rows that was applied to `source`."""
    unit = "videos"

    @cached_property
    def header(self) -> BuildHeader:
        """The header, with settings named as on the command line."""
        return BuildHeader(
            builder=BUILDER,
            builder_version=VERSION,
            builder_config={
                **self.settings.clips.as_config(),
                **self.hold_out.as_config(),
                "rows_per_shard": self.rows_per_shard,
                INPUT_LIST: self.source.sha256,
                "decoder": decoder_version(),
            },
            geometry=self.settings.clips.geometry,
            fps=self.settings.clips.fps,
            num_shards=-(-len(self.source.rows) // self.rows_per_shard),
            num_rows=len(self.source.rows),
            held_out_prompts=self.source.held_out_prompts,
        )

    def shard_name(self, index: int) -> str:
        """Return the file name of a shard."""
        return f"{BUILDER}-{index:06d}.tar"

    def row_numbers(self, index: int) -> range:
        """Return the rows of a shard; the last shard may have fewer."""
        first = index * self.rows_per_shard
        return range(len(self.source.rows))[first : first + self.rows_per_shard]

    def size_of(self, index: int) -> int:
        """Return the number of rows of a shard."""
        return len(self.row_numbers(index))

    def job(self, index: int) -> "PackedShard":
        """Return the job that makes one shard."""
        numbers = self.row_numbers(index)
        tasks = tuple(RowTask(number, self.source.rows[number]) for number in numbers)
        return PackedShard(index, self.shard_name(index), tasks, self.settings)


def decoder_version() -> str:
    """Return the version of the decoders; another one may change pixels."""
    import av

    return "libavcodec " + ".".join(map(str, av.library_versions["libavcodec"]))


@dataclass(frozen=True)
class PackedShard:
    """The job that makes one shard from its rows and the settings."""

    index: int
    name: str
    tasks: tuple[RowTask, ...]
    settings: PackSettings

    def run(self, folder: Path, should_stop: ShouldStop) -> BuiltShard:
        """Make the shard; every row yields clips or a failure."""
        failures: list[Failure] = []
        samples = self._samples(folder, failures, should_stop)
        path = folder / self.name
        if first := list(islice(samples, 1)):
            return build_shard(path, self.index, chain(first, samples), failures)
        path.unlink(missing_ok=True)  # from a run in which fewer of these rows failed
        return BuiltShard(index=self.index, entry=None, prompts={}, failures=tuple(failures))

    def _samples(
        self, folder: Path, failures: list[Failure], should_stop: ShouldStop
    ) -> Iterator[EncodedSample]:
        sandbox, seen = sandbox_for(self.settings), SeenClips()
        for task in self.tasks:
            if should_stop():
                raise BuildStopped
            with SampleSpool(folder) as clips:
                try:
                    with closing(sandbox.make_clips(task, should_stop)) as made:
                        for clip in made:
                            clips.append(clip)
                except VideoError as error:  # after any number of clips
                    failures.append(_failure(task, error))
                    continue
                for clip in clips:
                    try:
                        self._check(clip, seen)
                    except VideoError as error:
                        failures.append(_failure(task, error, parse_key(clip.key)[1]))
                    else:
                        yield clip

    def _check(self, clip: EncodedSample, seen: SeenClips) -> None:
        """Raise VideoError for a clip that the settings filter out."""
        settings, metadata = self.settings.clips, parse_metadata(clip)
        if (motion := metadata["motion"]) < settings.min_motion:
            raise VideoError("static", f"motion {motion:g} is below {settings.min_motion:g}")
        if settings.drop_duplicates and not seen.is_new(metadata["perceptual_hash"]):
            raise VideoError("duplicate", "nearly the same as an earlier clip of its shard")


def _failure(task: RowTask, error: VideoError, clip: int | None = None) -> Failure:
    return Failure(
        row=task.number,
        clip=clip,
        source=task.row.source,
        reason=error.reason,
        message=str(error),
    )


@lru_cache(maxsize=1)
def sandbox_for(settings: PackSettings) -> Sandbox:
    """Return this process's sandbox, kept because starting one is slow."""
    return Sandbox(settings)
